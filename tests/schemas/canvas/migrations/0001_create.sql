-- 0001_create: schema `canvas`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "box" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "fill" TEXT,
  "height" REAL NOT NULL,
  "name" TEXT NOT NULL,
  "width" REAL NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  "z" INTEGER NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "card" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "background_color" TEXT,
  "counter_value" INTEGER NOT NULL,
  "frame" TEXT,
  "height" REAL NOT NULL,
  "is_locked" INTEGER NOT NULL,
  "labels" TEXT NOT NULL,
  "list_position" TEXT,
  "name" TEXT NOT NULL,
  "name_conflict" TEXT,
  "resize_width" REAL,
  "tilt" REAL NOT NULL,
  "width" REAL NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  "z" INTEGER NOT NULL,
  "link_to_card" BLOB,
  "list" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "link_to_card") REFERENCES "card" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "list") REFERENCES "list" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_card.link_to_card" ON "card" (space, "link_to_card");
CREATE INDEX "_card.list" ON "card" (space, "list");
CREATE TABLE "connection" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "control_point" TEXT,
  "direction_is_visible" INTEGER NOT NULL,
  "label" TEXT,
  "path" TEXT NOT NULL,
  "connection_type" BLOB NOT NULL,
  "end_item_card" BLOB,
  "end_item_box" BLOB,
  "end_item_list" BLOB,
  "start_item_card" BLOB,
  "start_item_box" BLOB,
  "start_item_list" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "connection_type") REFERENCES "connection_type" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "end_item_card") REFERENCES "card" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "end_item_box") REFERENCES "box" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "end_item_list") REFERENCES "list" (space, id) ON DELETE NO ACTION,
  CHECK (("end_item_card" IS NOT NULL) + ("end_item_box" IS NOT NULL) + ("end_item_list" IS NOT NULL) = 1),
  FOREIGN KEY (space, "start_item_card") REFERENCES "card" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "start_item_box") REFERENCES "box" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "start_item_list") REFERENCES "list" (space, id) ON DELETE NO ACTION,
  CHECK (("start_item_card" IS NOT NULL) + ("start_item_box" IS NOT NULL) + ("start_item_list" IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_connection.connection_type" ON "connection" (space, "connection_type");
CREATE INDEX "_connection.end_item_card" ON "connection" (space, "end_item_card");
CREATE INDEX "_connection.end_item_box" ON "connection" (space, "end_item_box");
CREATE INDEX "_connection.end_item_list" ON "connection" (space, "end_item_list");
CREATE INDEX "_connection.start_item_card" ON "connection" (space, "start_item_card");
CREATE INDEX "_connection.start_item_box" ON "connection" (space, "start_item_box");
CREATE INDEX "_connection.start_item_list" ON "connection" (space, "start_item_list");
CREATE TABLE "connection_type" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "name" TEXT NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "drawing_stroke" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "points" TEXT NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "line" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "name" TEXT NOT NULL,
  "y" REAL NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "list" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "is_collapsed" INTEGER NOT NULL,
  "name" TEXT NOT NULL,
  "width" REAL NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  "z" INTEGER NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "mention" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "date" TEXT,
  "text" TEXT NOT NULL,
  "card" BLOB NOT NULL,
  "of_space" TEXT,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "card") REFERENCES "card" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_mention.card" ON "mention" (space, "card");
CREATE TABLE "tag" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "name" TEXT NOT NULL,
  "card" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "card") REFERENCES "card" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_tag.card" ON "tag" (space, "card");
