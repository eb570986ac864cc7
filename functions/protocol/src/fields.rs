//! A JSON object that a person wrote by hand: every field in it is known, or named with what was meant.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::nearest::nearest;

/// The fields that were not taken yet.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Takes apart an object that can have the `known` fields.
    ///
    /// # Errors
    /// If it is no object, or has a field that is not known.
    pub fn of(value: Value, known: &[&str]) -> Result<Self, BadFields> {
        let Value::Object(object) = value else { return Err(BadFields::NotAnObject) };
        match object.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(Self(object)),
            Some(name) => {
                let listed: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
                let meant = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it can have {}", listed.join(", ")),
                };
                Err(BadFields::Unknown { name: name.clone(), meant })
            }
        }
    }

    /// Takes a field; `None` if it is not there, or `null`. `wanted` says what it has to be.
    ///
    /// # Errors
    /// If `read` makes nothing of its value.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        wanted: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, BadFields> {
        match self.0.remove(name).unwrap_or_default() {
            Value::Null => Ok(None),
            value => match read(&value) {
                Some(read) => Ok(Some(read)),
                None => Err(BadFields::Value { name, value: value.to_string(), wanted }),
            },
        }
    }
}

/// Why an object is not what a person meant to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFields {
    /// A list, a text, a number.
    #[error("it is no JSON object")]
    NotAnObject,
    /// A slip of the pen.
    #[error("`{name}` is no field of it: {meant}")]
    Unknown {
        /// The field.
        name: String,
        /// What may have been meant.
        meant: String,
    },
    /// A value of the wrong kind.
    #[error("`{name}` is `{value}`, and has to be {wanted}")]
    Value {
        /// The field.
        name: &'static str,
        /// What stands there, as JSON.
        value: String,
        /// What should.
        wanted: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_named_with_what_was_meant() {
        let refused = |value| Fields::of(value, &["register", "on_timeout"]).map(drop).map_err(|why| why.to_string());
        assert_eq!(refused(json!({ "register": [] })), Ok(()));
        assert_eq!(refused(json!([])), Err("it is no JSON object".to_owned()));
        assert_eq!(
            refused(json!({ "registre": [] })),
            Err("`registre` is no field of it: did you mean `register`?".to_owned())
        );
        let far = refused(json!({ "key1": 1 }));
        assert_eq!(far, Err("`key1` is no field of it: it can have `register`, `on_timeout`".to_owned()));
    }

    #[test]
    fn a_field_is_taken_once_and_a_wrong_value_is_named() {
        let mut fields = Fields::of(json!({ "a": 1, "b": null }), &["a", "b", "c"]).expect("an object");
        assert_eq!(fields.take("a", "a number", Value::as_u64), Ok(Some(1)));
        assert_eq!(fields.take("b", "a number", Value::as_u64), Ok(None));
        assert_eq!(fields.take("c", "a number", Value::as_u64), Ok(None));
        let mut fields = Fields::of(json!({ "a": "x" }), &["a"]).expect("an object");
        let refused = fields.take("a", "a number", Value::as_u64).map_err(|why| why.to_string());
        assert_eq!(refused, Err("`a` is `\"x\"`, and has to be a number".to_owned()));
    }
}
