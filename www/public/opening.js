// Until the app draws, this page is all there is: it says so where the app's code does not come, or takes long.
const SLOW_MS = 20_000;
const opening = document.getElementById('opening');
const title = opening.querySelector('strong');
const detail = opening.querySelector('.detail');
const again = opening.querySelector('button');

/** The app has not drawn anything yet. */
const isOpening = () => opening.isConnected;

const tell = (what, why) => {
  if (!isOpening()) return;
  // A picture that never comes to life is worse than none.
  document.getElementById('look')?.remove();
  title.textContent = what;
  detail.textContent = why;
  again.hidden = false;
};

again.addEventListener('click', () => location.reload());
const slow = setTimeout(
  () => tell('Opening the canvas takes long', 'It is still being loaded, and shows as soon as it is there.'),
  SLOW_MS,
);
addEventListener(
  'error',
  ({ target, filename }) => {
    const isOurs = target instanceof HTMLScriptElement || filename?.startsWith(location.origin);
    if (!isOurs || !isOpening()) return;
    clearTimeout(slow);
    opening.querySelector('.spinner')?.remove();
    tell(
      'The page could not be loaded',
      'A part of it did not come. Check that there is a network, then try again. Nothing that was made on this device is lost.',
    );
  },
  true,
);
