//! The MD5 sums that SQS answers with and that boto3 and the AWS CLI verify.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use super::Attribute;

/// Marks a value as text in the sum of attributes; the other mark, 2, is for binary values, which are not modelled.
const TEXT: u8 = 1;

/// Returns the sum over a text.
pub(crate) fn of_text(text: &str) -> String {
    hex(Md5::digest(text.as_bytes()).as_ref())
}

/// Returns the sum over message attributes, or `None` if there are none: name, data type and value of each in the order of the
/// names, each behind its length in four bytes (SQS developer guide, "Calculating the MD5 message digest for message
/// attributes").
pub(crate) fn of_attributes(attributes: &BTreeMap<String, Attribute>) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut sum = Md5::new();
    let mut add = |text: &str, mark: Option<u8>| {
        if let Some(mark) = mark {
            sum.update([mark]);
        }
        sum.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        sum.update(text.as_bytes());
    };
    for (name, attribute) in attributes {
        add(name, None);
        add(&attribute.data_type, None);
        add(&attribute.value, Some(TEXT));
    }
    Some(hex(sum.finalize().as_ref()))
}

/// Writes bytes as SQS writes a sum.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_that_clients_compute() {
        assert_eq!(of_text("hello world"), "5eb63bbbe01eeed093cb22bb8f5acdc3");
        let attribute = Attribute { data_type: "Number".into(), value: "1493147359900".into() };
        assert_eq!(of_attributes(&BTreeMap::new()), None);
        // The example in moto's tests.
        assert_eq!(
            of_attributes(&BTreeMap::from([("timestamp".into(), attribute)])).as_deref(),
            Some("235c5c510d26fb653d073faed50ae77c")
        );
    }
}
