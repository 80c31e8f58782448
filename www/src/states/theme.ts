/** Light or dark: the system's choice, unless the person has made one. public/theme.js applies what is kept before the first paint. */

import { useState } from 'react';
import { keep, kept } from './kept.js';

export type Theme = 'system' | 'light' | 'dark';

export function useTheme(): [theme: Theme, choose: (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(() => kept<Theme>('theme') ?? 'system');
  const choose = (chosen: Theme) => {
    setTheme(chosen);
    keep('theme', chosen === 'system' ? undefined : chosen);
    if (chosen === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
  };
  return [theme, choose];
}
