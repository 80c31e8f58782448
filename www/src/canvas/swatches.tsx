import { cssColor, PRESETS } from './model.js';

export interface SwatchesProps {
  readonly label: string;
  /** Undefined where there is more than one. */
  readonly value: string | null | undefined;
  readonly onChoose: (color: string | null) => void;
}

export function Swatches({ label, value, onChoose }: SwatchesProps) {
  return (
    <fieldset className="swatches">
      <legend className="visually-hidden">{label}</legend>
      <button
        type="button"
        className="swatch swatch-none"
        aria-label="No colour"
        aria-pressed={value === null}
        onClick={() => onChoose(null)}
      />
      {Object.entries(PRESETS).map(([color, name]) => (
        <button
          key={color}
          type="button"
          className="swatch"
          aria-label={name}
          aria-pressed={value === color}
          data-testid={`color-${color}`}
          style={{ background: cssColor(color) }}
          onClick={() => onChoose(color)}
        />
      ))}
    </fieldset>
  );
}
