/** Who else is here. The one place that knows how. */

export { joinPresence, type Presence } from 'driftline/presence';
