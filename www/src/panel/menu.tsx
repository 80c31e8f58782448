/** What the top bar has no room for. The browser opens it, closes it at Escape or a click beside it, and gives the focus back. */

import { CloudOff, History, Layers, Monitor, Moon, Share2, Sun, Users } from 'lucide-react';
import { useRef } from 'react';
import { type Theme, useTheme } from '../states/theme.js';
import type { Shown } from '../topbar.js';

const ITEMS = [
  { shown: 'spaces', name: 'Spaces…', Icon: Layers },
  { shown: 'share', name: 'Share…', Icon: Share2 },
  { shown: 'history', name: 'History…', Icon: History },
  { shown: 'people', name: 'People…', Icon: Users },
] as const;

const THEMES: readonly { theme: Theme; name: string; Icon: typeof Sun }[] = [
  { theme: 'system', name: 'As the system', Icon: Monitor },
  { theme: 'light', name: 'Light', Icon: Sun },
  { theme: 'dark', name: 'Dark', Icon: Moon },
];

export interface MenuProps {
  readonly show: (what: Shown) => void;
  readonly isOffline: boolean;
  readonly switchOffline: () => void;
}

export function Menu({ show, isOffline, switchOffline }: MenuProps) {
  const element = useRef<HTMLElement>(null);
  const [theme, choose] = useTheme();
  return (
    <nav ref={element} id="app-menu" className="app-menu" popover="auto" aria-label="App" data-testid="app-menu">
      {ITEMS.map(({ shown, name, Icon }) => (
        <button
          key={shown}
          type="button"
          className="app-menu-item"
          data-testid={`app-menu-${shown}`}
          onClick={() => {
            element.current?.hidePopover();
            show(shown);
          }}
        >
          <Icon size={18} aria-hidden /> {name}
        </button>
      ))}
      <button
        type="button"
        role="switch"
        aria-checked={isOffline}
        className="app-menu-item only-phone"
        data-testid="app-menu-online"
        onClick={switchOffline}
      >
        <CloudOff size={18} aria-hidden /> Work offline
        <span className="state">{isOffline ? 'on' : 'off'}</span>
      </button>
      <fieldset className="themes">
        <legend>Theme</legend>
        {THEMES.map(({ theme: one, name, Icon }) => (
          <label key={one} title={name}>
            <input
              type="radio"
              name="theme"
              className="visually-hidden"
              aria-label={name}
              data-testid={`theme-${one}`}
              checked={theme === one}
              onChange={() => choose(one)}
            />
            <Icon size={18} aria-hidden />
          </label>
        ))}
      </fieldset>
    </nav>
  );
}
