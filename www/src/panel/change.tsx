import { type FormEvent, type KeyboardEvent, useId, useRef, useState } from 'react';
import { useFocusBack } from '../canvas/use-focus.js';
import { useDatabase } from '../space.js';
import { amend, type Draft, type Value } from './amend.js';
import { sayRefusal } from './codes.js';
import { rowName } from './words.js';

/** A transaction of many rows is a matter for the canvas. */
const VALUES_MAX = 30;

export interface ChangeProps {
  readonly draft: Draft;
  readonly close: () => void;
}

/** What a transaction sets, to be written anew and sent again. */
export function Change({ draft, close }: ChangeProps) {
  const db = useDatabase();
  const form = useRef<HTMLFormElement>(null);
  /** A browser writes the ends of lines in another way: what nobody has touched stays as it is. */
  const touched = useRef(new Set<string>());
  const [refusal, setRefusal] = useState<string>();
  useFocusBack(form);
  const { values } = draft;
  const isOfOne = new Set(values.map(({ row }) => row.id)).size === 1;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const written = new FormData(event.currentTarget);
    try {
      amend(
        db,
        draft,
        values.map((value, index) =>
          touched.current.has(String(index)) ? read(value, written.get(String(index))) : value.now,
        ),
      );
      close();
    } catch (error) {
      setRefusal(sayRefusal(error));
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' || event.nativeEvent.isComposing) return;
    // The panel around it stays.
    event.stopPropagation();
    close();
  };
  return (
    <form
      ref={form}
      className="change"
      data-testid="change"
      onSubmit={submit}
      onInput={({ target }) => touched.current.add((target as HTMLInputElement).name)}
      onKeyDown={onKeyDown}
    >
      {values.slice(0, VALUES_MAX).map((value, index) => (
        <Field
          key={`${value.edit} ${value.column}`}
          value={value}
          name={String(index)}
          label={isOfOne ? value.name : `${value.name} of ${rowName(db, value.row)}`}
        />
      ))}
      {values.length > VALUES_MAX && <p className="hint">{values.length - VALUES_MAX} more stay as they are.</p>}
      {refusal && (
        <p className="problem" role="alert">
          {refusal}
        </p>
      )}
      <div className="actions">
        <button type="submit" className="button is-primary" data-testid="send-again">
          Send again
        </button>
        <button type="button" className="button" onClick={close}>
          Leave it
        </button>
      </div>
    </form>
  );
}

interface FieldProps {
  readonly value: Value;
  readonly name: string;
  readonly label: string;
}

function Field({ value: { column, now }, name, label }: FieldProps) {
  const id = useId();
  const shared = { id, className: 'field', name, defaultValue: now };
  return (
    <div className="stacked">
      <label htmlFor={id}>{label}</label>
      {typeof now === 'number' && <input {...shared} type="number" step="any" required />}
      {typeof now === 'string' &&
        (column === 'text' || now.includes('\n') ? <textarea {...shared} rows={4} /> : <input {...shared} />)}
    </div>
  );
}

/** What stands in a field. */
function read({ now }: Value, written: FormDataEntryValue | null): string | number {
  if (typeof written !== 'string') return now;
  return typeof now === 'number' ? Number(written) : written.replaceAll('\r\n', '\n');
}
