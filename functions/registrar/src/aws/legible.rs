//! Answers that an XML parser cannot read: a character that XML 1.0 does not have is made a question mark.
//!
//! EC2 takes any character in a tag ("Amazon EC2 resources allow any characters",
//! <https://docs.aws.amazon.com/mediaconnect/latest/ug/tagging-restrictions.html>), and answers in XML 1.0, which has no
//! control characters but three (<https://www.w3.org/TR/xml/#charsets>). What EC2 writes in their place is documented
//! nowhere. The SDK's parser reads a reference (`&#1;`), and fails at the character itself: then one tag would make a page of
//! a thousand instances unreadable, for every function and for as long as the tag is there. So the character never gets
//! to the parser. The tag reads `?` in its place; none of ours has such a character.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_ec2::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut},
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use http_body::{Body, Frame, SizeHint};

/// Makes each answer of a client one that an XML parser can read.
#[derive(Debug)]
pub(crate) struct Legible;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Legible {
    fn name(&self) -> &'static str {
        "Legible"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let body = LegibleBody { body: response.take_body(), last: [0; 2] };
        *response.body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
    }
}

/// A body without characters that XML does not have.
struct LegibleBody {
    body: SdkBody,
    /// The last two bytes of the frame before: a character may be cut between two frames.
    last: [u8; 2],
}

impl Body for LegibleBody {
    type Data = <SdkBody as Body>::Data;
    type Error = <SdkBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { return Poll::Ready(None) };
        let last = &mut self.last;
        let frame = frame.map(|frame| {
            frame.map_data(|data| {
                let changed = legible(&data, last);
                changed.map_or(data, Into::into)
            })
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Each character is replaced by one of the same length.
        Body::size_hint(&self.body)
    }
}

/// Replaces what XML does not have: a control character by `?`, and U+FFFE or U+FFFF by U+FFFD. Returns `None` if there is
/// no such character. `last` are the two bytes before.
fn legible(bytes: &[u8], last: &mut [u8; 2]) -> Option<Vec<u8>> {
    // Nearly all answers, and each byte of them is looked at. Without 0xEF there is neither U+FFFE nor U+FFFF.
    let is_plain = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0xee | 0xf0..);
    if !last.contains(&0xef) && bytes.iter().all(is_plain) {
        return None;
    }
    let mut changed: Option<Vec<u8>> = None;
    for (place, byte) in bytes.iter().enumerate() {
        let other = match (*last, byte) {
            (_, 0..=8 | 0xb | 0xc | 0xe..=0x1f) => Some(b'?'),
            // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
            ([0xef, 0xbf], 0xbe | 0xbf) => Some(0xbd),
            _ => None,
        };
        if let Some(other) = other {
            changed.get_or_insert_with(|| bytes.to_vec())[place] = other;
        }
        *last = [last[1], *byte];
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_xml_does_not_have_is_replaced() {
        for (text, read) in [
            ("web-1\t\r\nÜ\u{7f}\u{85}\u{202e}\u{fffd}🙂", None),
            ("a\u{0}b\u{1b}[2J\u{8}", Some("a?b?[2J?")),
            ("\u{fffe}x\u{ffff}", Some("\u{fffd}x\u{fffd}")),
            ("\u{efbf}\u{1}", Some("\u{efbf}?")),
        ] {
            let whole = legible(text.as_bytes(), &mut [0; 2]);
            assert_eq!(whole.as_deref(), read.map(str::as_bytes), "{text:?}");
            // In frames of a byte each.
            let mut last = [0; 2];
            let single = |byte: &u8| legible(&[*byte], &mut last).unwrap_or_else(|| vec![*byte]);
            let bytes: Vec<u8> = text.as_bytes().iter().flat_map(single).collect();
            assert_eq!(bytes, read.unwrap_or(text).as_bytes(), "{text:?}");
        }
    }
}
