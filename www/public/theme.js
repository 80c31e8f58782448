// Before the first paint, so that a page that is to be dark is never light for a moment. A file of its own: a policy that
// forbids scripts within the page lets it run.
try {
  const theme = JSON.parse(localStorage.getItem('driftline.theme'));
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // No storage, no choice: it is as the system is.
}
