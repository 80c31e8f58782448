-- 0001_create: schema `excalidraw`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "element" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "element_id" TEXT NOT NULL,
  "place" TEXT,
  "rest" TEXT NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
