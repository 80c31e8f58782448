/** Tells the status to those who hear the page, once it has stayed for a moment: what changes with each edit would drown all else. */

import { useEffect, useState } from 'react';
import { useStatus } from '../panel/use-sync.js';
import { statusSentence, statusWords } from '../panel/words.js';

const STAYS_MS = 1_500;

export function StatusRegion() {
  const status = useStatus();
  const isQuiet = status.state === 'saved' || status.state === 'saving';
  const words = isQuiet ? statusWords(status) : statusSentence(status);
  const [told, setTold] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setTold(words), STAYS_MS);
    return () => clearTimeout(timer);
  }, [words]);
  return (
    <div className="visually-hidden" role="status" data-testid="status-region">
      {told}
    </div>
  );
}
