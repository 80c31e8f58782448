#!/usr/bin/env -S gjs -m
// The smallest browser on WebKitGTK that WebDriver can drive and that keeps its storage: `webkit-browser.js --profile=FOLDER [--quota=BYTES]`.
// WebKitGTK's own MiniBrowser forgets everything at its end while it is automated, so nothing could be reopened in it.

import Gio from 'gi://Gio';
import Gtk from 'gi://Gtk?version=3.0';
import WebKit from 'gi://WebKit2?version=4.1';
import system from 'system';

const argument = (name) => system.programArgs.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
const profile = argument('profile');
const quota = argument('quota');
if (profile === undefined) throw new Error('--profile=FOLDER is missing');

Gtk.init(null);
const manager = new WebKit.WebsiteDataManager({
  base_data_directory: `${profile}/data`,
  base_cache_directory: `${profile}/cache`,
  ...(quota !== undefined && { origin_storage_ratio: Number(quota) / sizeOfVolume(profile) }),
});
const context = new WebKit.WebContext({ website_data_manager: manager });
context.set_automation_allowed(true);
context.connect('automation-started', (_, session) => {
  const info = new WebKit.ApplicationInfo();
  info.set_name('WebKitGTK');
  info.set_version(WebKit.get_major_version(), WebKit.get_minor_version(), WebKit.get_micro_version());
  session.set_application_info(info);
  session.connect('create-web-view', openWindow);
});

// WebKit's quota is a part of the disk.
function sizeOfVolume(path) {
  const size = Gio.FILE_ATTRIBUTE_FILESYSTEM_SIZE;
  return Gio.File.new_for_path(path).query_filesystem_info(size, null).get_attribute_uint64(size);
}

function openWindow() {
  const view = new WebKit.WebView({ web_context: context, is_controlled_by_automation: true });
  const window = new Gtk.Window({ default_width: 1280, default_height: 800 });
  view.connect('close', () => window.destroy());
  window.add(view);
  window.show_all();
  return view;
}

Gtk.main();
