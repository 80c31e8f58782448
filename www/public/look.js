// Before the app starts: the picture that src/states/look.ts keeps of a canvas as it was left, so that nobody looks at an empty page
// while the engine starts. It lies below the app, which takes it away once it draws the canvas itself.
// In a trace of the browser: from here on the page can show something.
performance.mark('look');
try {
  const space = new URLSearchParams(location.search).get('space') || 'welcome';
  const kept = (what) => JSON.parse(localStorage.getItem(`driftline.${what}.${space}`));
  const { picture, pass } = kept('look') ?? {};
  // With another pass the space may be somebody else's; in another window everything would be elsewhere.
  const isSameWindow = picture?.window[0] === innerWidth && picture.window[1] === innerHeight;
  if (isSameWindow && pass === kept('pass') && !location.hash.includes('token=')) {
    const look = document.createElement('div');
    look.id = 'look';
    look.className = 'react-flow';
    look.inert = true;
    look.ariaHidden = 'true';
    look.innerHTML = picture.html;
    for (const one of look.querySelectorAll('[data-style]')) one.style.cssText = one.dataset.style;
    for (const [side, px] of Object.entries(picture.frame)) look.style[side] = `${px}px`;
    document.body.append(look);
  }
} catch {
  // No storage, no picture: the page says that it opens.
}
