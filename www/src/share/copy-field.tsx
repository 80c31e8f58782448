/** A text to be taken along, and the button that takes it. */

import { Copy } from 'lucide-react';
import { useRef } from 'react';

export interface CopyFieldProps {
  readonly label: string;
  readonly testId: string;
  readonly value: string;
  readonly notify: (text: string) => void;
}

export function CopyField({ label, testId, value, notify }: CopyFieldProps) {
  const field = useRef<HTMLInputElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value);
      notify('Copied.');
    } catch {
      // Some browsers, and plain http, leave it to the person.
      field.current?.select();
      notify('It is marked: copy it with your keyboard.');
    }
  };
  return (
    <label className="stacked">
      {label}
      <span className="field-row">
        <input
          ref={field}
          className="field"
          readOnly
          data-testid={testId}
          value={value}
          onFocus={(event) => event.currentTarget.select()}
        />
        <button type="button" className="button" aria-label={`Copy: ${label}`} onClick={copy}>
          <Copy size={16} aria-hidden /> Copy
        </button>
      </span>
    </label>
  );
}
