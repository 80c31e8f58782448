import { stopSimulating, useSimulated } from './inspection.js';

/** What the inspector simulates, so that nobody forgets it, or takes it for the network. */
export function Simulated() {
  const words = useSimulated();
  if (words === '') return null;
  return (
    <section className="banner is-warn" aria-label="Simulated" data-testid="simulated">
      <p>The inspector simulates a bad network in this tab: {words}.</p>
      <button type="button" className="button" onClick={stopSimulating}>
        Stop simulating
      </button>
    </section>
  );
}
