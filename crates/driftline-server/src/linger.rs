//! An answer that leaves before its request has arrived, as refusals do. What still comes is read for a while and thrown
//! away, because a connection that is closed under its sender takes the answer with it.

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;

/// What is thrown away of one request at most; who sends more than that does not care for the answer.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;
/// Well below what a stop waits for connections.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A request's body that is read on when nobody wants it any more.
pub struct Lingering {
    body: Body,
    is_over: bool,
}

impl Lingering {
    pub fn over(body: Body) -> Body {
        let is_over = body.is_end_stream();
        Body::new(Lingering { body, is_over })
    }
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_over |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.is_over || self.body.is_end_stream() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(DISCARD_TIMEOUT, discard(std::mem::take(&mut self.body))));
        }
    }
}

async fn discard(mut body: Body) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            break;
        }
    }
}
