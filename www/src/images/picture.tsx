/** The picture of a card, or what is to be said while it is not here. */

import { useRow } from 'driftline/react';
import { CloudOff, Image, ImageOff, Smartphone } from 'lucide-react';
import { type ReactNode, useCallback, useState, useSyncExternalStore } from 'react';
import type { Face } from '../canvas/model.js';
import { titleOf } from '../edits.js';
import { SENTENCES } from '../panel/codes.js';
import type { Card } from '../schema.js';
import { useDatabase } from '../space.js';
import { describedIn } from './described.js';
import { useFiles } from './files.js';
import type { Picture as Shown } from './pictures.js';

export interface PictureProps {
  readonly row: Face<Card>;
  /** Takes the place of the caption. */
  readonly draft: ReactNode;
  readonly isReadable: boolean;
}

export function Picture({ row, draft, isReadable }: PictureProps) {
  const image = useRow(useDatabase(), 'image', row.image);
  const shown = useShown(image?.hash ?? describedIn(row.extra)?.hash);
  const [brokenUrl, setBrokenUrl] = useState('');
  const url = shown && 'url' in shown && shown.url !== brokenUrl ? shown.url : undefined;
  const isHere = url !== undefined;
  return (
    <figure className="picture" data-testid="picture" data-state={isHere ? 'shown' : 'away'}>
      {isHere ? (
        <img
          src={url}
          alt={row.text || titleOf(row)}
          draggable={false}
          decoding="async"
          onError={() => setBrokenUrl(url)}
        />
      ) : (
        <Away {...away(shown, image !== undefined)} />
      )}
      {/* The picture itself says it to those who do not see it. */}
      {draft || (row.text && isReadable && <figcaption aria-hidden={isHere}>{row.text}</figcaption>)}
    </figure>
  );
}

function useShown(hash: string | undefined): Shown | undefined {
  const { pictures } = useFiles();
  const subscribe = useCallback(
    (listener: () => void) => (hash ? pictures.subscribe(hash, listener) : () => {}),
    [pictures, hash],
  );
  return useSyncExternalStore(subscribe, () => (hash ? pictures.read(hash) : NOWHERE));
}

/** The file is on its way, and the card does not say which one it is. */
const NOWHERE: Shown = { code: 'not_found' };

interface Told {
  readonly Icon: typeof Image;
  readonly title: string;
  readonly detail: string;
}

/** Why the picture is not here, and what brings it. `hasRow`: the server has had the file. */
function away(shown: Shown | undefined, hasRow: boolean): Told {
  if (!shown) return { Icon: Image, title: 'Fetching the picture', detail: '' };
  if ('url' in shown)
    return { Icon: ImageOff, title: 'This browser cannot show the picture', detail: 'Another may be able to.' };
  if (shown.code === 'unreachable')
    return { Icon: CloudOff, title: 'Waiting for a network', detail: 'The picture comes once there is one.' };
  if (shown.code === 'not_found' && !hasRow)
    return {
      Icon: Smartphone,
      title: 'Waiting for another device',
      detail: 'The one that has this picture has not sent it yet.',
    };
  if (shown.code === 'not_found')
    return { Icon: ImageOff, title: 'The picture is gone', detail: 'The server does not have it any more.' };
  const detail = SENTENCES[shown.code] ?? 'It is tried again.';
  return { Icon: ImageOff, title: 'The picture cannot be fetched', detail };
}

function Away({ Icon, title, detail }: Told) {
  return (
    <div className="picture-away" data-testid="picture-away">
      <Icon size={22} aria-hidden />
      <strong>{title}</strong>
      {detail && <span>{detail}</span>}
    </div>
  );
}
