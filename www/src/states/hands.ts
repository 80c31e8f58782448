/** Whether a hand is moving something with every frame. What can be shown a moment later then waits, so that each frame has the time it needs. */

let hands = 0;

export const isHandOn = (): boolean => hands > 0;

/** Until the function that it returns is called. */
export function putHandOn(): () => void {
  hands += 1;
  let isOn = true;
  return () => {
    if (isOn) hands -= 1;
    isOn = false;
  };
}
