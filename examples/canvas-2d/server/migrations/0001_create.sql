-- 0001_create: schema `canvas_2d`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "card" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "text" TEXT NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "line" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "from" BLOB NOT NULL,
  "to" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "from") REFERENCES "card" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "to") REFERENCES "card" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_line.from" ON "line" (space, "from");
CREATE INDEX "_line.to" ON "line" (space, "to");
