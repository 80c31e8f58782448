/** The canvas itself: what it is made of, and what its commands act with. */

import { Panel } from '@xyflow/react';
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import * as edits from '../edits.js';
import { useFiles } from '../images/files.js';
import { sayRefusal } from '../panel/codes.js';
import { useAccessStore } from '../share/access.js';
import { requireEdit } from '../share/read-only.js';
import { openedWith, useDatabase } from '../space.js';
import { lookOf } from '../states/look.js';
import { type NewKind, Toolbar } from '../toolbar.js';
import { saveCanvas } from '../transfer.js';
import { LEGIBLE_ZOOM, useCamera } from './camera.js';
import { carried } from './carried.js';
import { commandOf } from './commands.js';
import { type Controls, count, type Overlay } from './controls.js';
import { type Editing, EditingProvider } from './editing.js';
import { Flow } from './flow.js';
import { intersects, type Place } from './geometry.js';
import { hideSecondFinger } from './hand.js';
import { Help } from './help.js';
import { Inspector } from './inspector.js';
import { Legend } from './legend.js';
import { Menu } from './menu.js';
import { MiniMap } from './minimap.js';
import { Scene } from './scene.js';
import { Search } from './search.js';
import { useSnapping } from './snapping.js';
import { unsaved } from './unsaved.js';
import { drop, open, useClipboard } from './use-clipboard.js';
import { useDrag } from './use-drag.js';
import { giveFocusToDraft, useFocus } from './use-focus.js';
import { useKeyboard } from './use-keyboard.js';
import { useLook } from './use-look.js';
import { useMenu } from './use-menu.js';
import { ViewBar } from './view-bar.js';

function tryTo(edit: () => void): string | undefined {
  try {
    edit();
    return undefined;
  } catch (error) {
    return sayRefusal(error);
  }
}

export interface CanvasProps {
  readonly space: string;
  readonly notify: (text: string) => void;
}

export function Canvas({ space, notify }: CanvasProps) {
  const db = useDatabase();
  const files = useFiles();
  const access = useAccessStore();
  const scene = useMemo(() => new Scene(db, carried), [db]);
  const camera = useCamera();
  const [editedId, setEditedId] = useState<string | null>(null);
  const [connectionType, setConnectionType] = useState<string | null>(null);
  const [overlay, setOverlay] = useState<Overlay | null>(null);
  const [hasMap, setHasMap] = useState(true);
  const [said, setSaid] = useState('');
  // The same words again are announced again only where they differ.
  const say = useCallback((text: string) => setSaid((last) => (last === text ? `${text}\u00a0` : text)), []);
  const [snapping, setSnapping] = useSnapping();
  const pointer = useRef<Place | undefined>(undefined);
  const main = useRef<HTMLElement>(null);
  const isEmpty = useSyncExternalStore(scene.subscribe, () => scene.read().isEmpty);

  const report = useCallback((error: unknown) => notify(sayRefusal(error)), [notify]);
  const attempt = useCallback(
    (edit: () => void) => {
      const why = tryTo(edit);
      if (why !== undefined) notify(why);
    },
    [notify],
  );
  const drag = useDrag({ db, scene, report, snapping, camera });
  const focus = useFocus(main);
  const begin = useCallback(
    (id: string) =>
      attempt(() => {
        requireEdit(access);
        const [item] = edits.itemsOf(db, [id]);
        if (item && camera.zoom() < LEGIBLE_ZOOM) camera.reveal(item, { isToRead: true });
        setEditedId(id);
        giveFocusToDraft(id);
      }),
    [attempt, access, db, camera],
  );
  const edit = useCallback(
    (id: string) => {
      if (db.tables.connection.get(id)) document.querySelector<HTMLElement>('[data-testid=connection-label]')?.focus();
      else begin(id);
    },
    [db, begin],
  );
  const editing = useMemo<Editing>(
    () => ({
      id: editedId,
      scene,
      begin,
      leave: (id, hasFocus) => {
        const left = unsaved.get(id);
        if (left && edits.itemsOf(db, [id]).length > 0)
          notify(`Not kept. ${left.why} What you wrote waits where you wrote it.`);
        setEditedId((edited) => (edited === id ? null : edited));
        if (hasFocus) document.getElementById('canvas')?.focus({ preventScroll: true });
      },
      end: (isByKey) => {
        setEditedId(null);
        if (isByKey && editedId) focus(editedId);
      },
      attempt,
      tryTo,
      resizing: drag,
    }),
    [db, editedId, scene, attempt, drag, focus, begin, notify],
  );
  const menu = useMenu(scene);
  const controls = useRef<Controls>(undefined as never);
  controls.current = {
    db,
    files,
    scene,
    camera,
    snapping,
    setSnapping,
    connectionType,
    place: () =>
      (menu.at ?? pointer.current) ? camera.at(menu.at ?? pointer.current ?? { x: 0, y: 0 }) : camera.center(),
    edit,
    focus,
    toggle: (wanted) => setOverlay((shown) => (shown === wanted && wanted !== 'search' ? null : wanted)),
    toggleMap: () => setHasMap((hasMap) => !hasMap),
    cancel: drag.cancel,
    notify,
    say,
  };
  useKeyboard(controls, attempt);
  useClipboard(controls, attempt);

  useEffect(() => scene.follow(), [scene]);
  useEffect(() => drag.finish, [drag]);
  useEffect(hideSecondFinger, []);
  useEffect(() => camera.watch((view) => scene.look(view)), [camera, scene]);
  useLook({ space, main, scene, camera });
  // The first rows to arrive, from this device or from the server, bring the view to them, or to what was in view when this canvas
  // was left; later ones leave it alone.
  const hasView = useRef(false);
  useEffect(() => {
    if (isEmpty || hasView.current) return;
    hasView.current = true;
    const left = lookOf(space, openedWith());
    if (left) camera.show(left.center, left.zoom);
    const items = edits.allItems(db);
    if (!left || !items.some((item) => intersects(item, camera.view()))) camera.fit(items, { isAtOnce: true });
  }, [isEmpty, camera, db, space]);

  const create = useCallback(
    (kind: NewKind) =>
      attempt(() => {
        hasView.current = true;
        const { db, scene, camera, edit } = controls.current;
        const id = edits.createItem(db, kind, camera.center());
        scene.select([id]);
        edit(id);
      }),
    [attempt],
  );
  const openFile = useCallback((file: File) => void open(controls.current, file), []);
  const addImage = useCallback(() => commandOf('image').run(controls.current), []);
  const save = useCallback(() => {
    const { db, notify } = controls.current;
    const named = saveCanvas(db, space);
    if (named > 0) notify(`Saved. Left out: ${count(named, 'image')}, which a .canvas file can only name.`);
  }, [space]);
  const toggleLegend = useCallback(() => controls.current.toggle('legend'), []);
  const close = useCallback(() => setOverlay(null), []);

  return (
    <EditingProvider value={editing}>
      <main
        ref={main}
        className="canvas"
        aria-label={`Canvas ${space}`}
        data-testid="canvas"
        onPointerMove={({ target, clientX, clientY }) => {
          const isOnCanvas = (target as Element).closest('.react-flow__renderer') !== null;
          pointer.current = isOnCanvas ? { x: clientX, y: clientY } : undefined;
        }}
        onPointerLeave={() => {
          pointer.current = undefined;
        }}
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => attempt(() => drop(controls.current, event))}
        {...menu.handlers}
      >
        <Flow controls={controls} drag={drag} attempt={attempt}>
          <Panel position="top-center" className="bars">
            <Toolbar
              create={create}
              addImage={addImage}
              save={save}
              open={openFile}
              connectionType={connectionType}
              setConnectionType={setConnectionType}
              isLegendOpen={overlay === 'legend'}
              toggleLegend={toggleLegend}
            />
            {overlay === 'search' && <Search controls={controls} close={close} />}
            <Inspector controls={controls} />
          </Panel>
          {overlay === 'legend' && (
            <Panel position="top-left">
              <Legend chosen={connectionType} choose={setConnectionType} close={close} />
            </Panel>
          )}
          <Panel position="bottom-left">
            <ViewBar controls={controls} snapping={snapping} hasMap={hasMap} />
          </Panel>
          {hasMap && !isEmpty && (
            <Panel position="bottom-right">
              <MiniMap controls={controls} />
            </Panel>
          )}
        </Flow>
        {menu.at && <Menu at={menu.at} controls={controls} attempt={attempt} close={menu.close} />}
        {overlay === 'help' && <Help close={close} />}
        <div className="visually-hidden" role="status" data-testid="said">
          {said}
        </div>
      </main>
    </EditingProvider>
  );
}
