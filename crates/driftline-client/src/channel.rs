//! Messages between the tabs of one user and space.

use crate::js::listen;
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BroadcastChannel, MessageEvent};

pub struct Channel {
    channel: BroadcastChannel,
    slot: u32,
}

impl Channel {
    /// `hear` gets the slot of the tab that speaks, and the core's message.
    pub fn open(name: &str, slot: u32, hear: impl Fn(u32, String) + 'static) -> Result<Channel, JsValue> {
        let channel = BroadcastChannel::new(name)?;
        listen(&channel, "message", move |event| {
            let parts: Array = event.unchecked_into::<MessageEvent>().data().unchecked_into();
            if let (Some(slot), Some(text)) = (parts.get(0).as_f64(), parts.get(1).as_string()) {
                hear(slot as u32, text);
            }
        });
        Ok(Channel { channel, slot })
    }

    pub fn post(&self, text: &str) {
        // A closed channel belongs to a closed session.
        let _ = self.channel.post_message(&Array::of2(&self.slot.into(), &text.into()));
    }

    pub fn close(&self) {
        self.channel.close();
    }
}
