import { newId } from 'driftline';
import { Suspense } from 'react';
import { Board } from './board';

// Rendered for each request, so that the package is imported by the server as it runs, and not only by the build.
export const dynamic = 'force-dynamic';

export default function Page() {
  return (
    <main data-made-on-the-server={newId()}>
      <Suspense>
        <Board />
      </Suspense>
    </main>
  );
}
