-- 0001_create: schema `react_flow`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "edge" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "source" BLOB NOT NULL,
  "target" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "source") REFERENCES "node" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "target") REFERENCES "node" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_edge.source" ON "edge" (space, "source");
CREATE INDEX "_edge.target" ON "edge" (space, "target");
CREATE TABLE "node" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "label" TEXT NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
