//! A JSON object that a person wrote by hand. Every unknown field is an error that names what may have been meant.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use thiserror::Error;

use crate::nearest::nearest;

/// The fields that have not been read yet.
#[derive(Debug)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads the text of an object that can have the `known` fields.
    ///
    /// # Errors
    /// If the text is no JSON or no object, or has an unknown field, or has a field twice.
    pub fn read(text: &str, known: &[&str]) -> Result<Self, BadFields> {
        let value: Value = serde_json::from_str(text).map_err(|_| BadFields::NotJson)?;
        let Self(fields) = Self::of(value, known)?;
        // A `Value` keeps only the last of two fields with one name.
        let Pairs(pairs) = serde_json::from_str(text).map_err(|_| BadFields::NotAnObject)?;
        match fields.keys().find(|name| pairs.iter().filter(|pair| pair == name).count() > 1) {
            None => Ok(Self(fields)),
            Some(name) => Err(BadFields::Twice(name.clone())),
        }
    }

    /// Reads an object that can have the `known` fields.
    ///
    /// # Errors
    /// If the value is no object, or has an unknown field.
    pub fn of(value: Value, known: &[&str]) -> Result<Self, BadFields> {
        let Value::Object(object) = value else { return Err(BadFields::NotAnObject) };
        match object.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(Self(object.into_iter().collect())),
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

    /// Removes a field and reads its value; `None` if the field is missing. `wanted` says what the value has to be.
    ///
    /// # Errors
    /// If `read` does not understand the value.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        wanted: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, BadFields> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let read = read(&value).ok_or_else(|| BadFields::Value { name, value: value.to_string(), wanted })?;
        Ok(Some(read))
    }
}

/// The names of an object's fields, each as often as the object has it.
struct Pairs(Vec<String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EveryName)
    }
}

struct EveryName;

impl<'de> Visitor<'de> for EveryName {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Pairs, A::Error> {
        let mut names = Vec::new();
        while let Some((name, _)) = object.next_entry::<String, serde::de::IgnoredAny>()? {
            names.push(name);
        }
        Ok(Pairs(names))
    }
}

/// Why an object is not what a person meant to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFields {
    /// The text is no JSON.
    #[error("it is not JSON")]
    NotJson,
    /// The value is a list, a text or a number.
    #[error("it is no JSON object: write `{{...}}`")]
    NotAnObject,
    /// The object has a field twice. Only the last one would count.
    #[error("it has the field `{0}` twice")]
    Twice(String),
    /// The object has an unknown field, probably a slip of the pen.
    #[error("`{name}` is no field of it: {meant}")]
    Unknown {
        /// The name of the field.
        name: String,
        /// What may have been meant.
        meant: String,
    },
    /// A field has a value of the wrong kind.
    #[error("`{name}` is `{value}`, and has to be {wanted}")]
    Value {
        /// The name of the field.
        name: &'static str,
        /// Its value, as JSON.
        value: String,
        /// What the value has to be.
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
        assert_eq!(refused(json!([])), Err("it is no JSON object: write `{...}`".to_owned()));
        assert_eq!(
            refused(json!({ "registre": [] })),
            Err("`registre` is no field of it: did you mean `register`?".to_owned())
        );
        let far = refused(json!({ "key1": 1 }));
        assert_eq!(far, Err("`key1` is no field of it: it can have `register`, `on_timeout`".to_owned()));
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        let read = |text| Fields::read(text, &["a", "b"]).map(drop).map_err(|why| why.to_string());
        assert_eq!(read(r#"{"a": 1, "b": 2}"#), Ok(()));
        assert_eq!(read(r#"{"a": 1, "b": 2, "a": 1}"#), Err("it has the field `a` twice".to_owned()));
        assert_eq!(read(r#"{"a": "#), Err("it is not JSON".to_owned()));
    }

    #[test]
    fn a_field_is_taken_once_and_a_wrong_value_is_named() {
        let mut fields = Fields::of(json!({ "a": 1, "b": null }), &["a", "b", "c"]).expect("an object");
        assert_eq!(fields.take("a", "a number", Value::as_u64), Ok(Some(1)));
        let null = fields.take("b", "a number", Value::as_u64).map_err(|why| why.to_string());
        assert_eq!(null, Err("`b` is `null`, and has to be a number".to_owned()));
        assert_eq!(fields.take("c", "a number", Value::as_u64), Ok(None));
        let mut fields = Fields::of(json!({ "a": "x" }), &["a"]).expect("an object");
        let refused = fields.take("a", "a number", Value::as_u64).map_err(|why| why.to_string());
        assert_eq!(refused, Err("`a` is `\"x\"`, and has to be a number".to_owned()));
    }
}
