/** Light or dark: as the nearest `data-theme` says, or else the page's colour scheme, or else the system. */

export function followTheme(host: HTMLElement, app: HTMLElement): () => void {
  const apply = () => {
    const scheme = schemeOf(host);
    if (app.dataset.scheme !== scheme) app.dataset.scheme = scheme;
  };
  const observer = new MutationObserver(apply);
  for (let element: Element | null = host; element; element = element.parentElement) {
    observer.observe(element, { attributes: true, attributeFilter: ['data-theme', 'class', 'style'] });
  }
  apply();
  return () => observer.disconnect();
}

function schemeOf(host: HTMLElement): 'light' | 'dark' | 'system' {
  const theme = host.closest<HTMLElement>('[data-theme]')?.dataset.theme;
  if (theme === 'light' || theme === 'dark') return theme;
  const words = getComputedStyle(host).colorScheme.split(' ');
  const [light, dark] = [words.includes('light'), words.includes('dark')];
  return light === dark ? 'system' : light ? 'light' : 'dark';
}
