//! A field of JSON that is of use only if it is a text. A value of another kind does not spoil the rest of the input.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// The value of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field {
    /// There is no value, or it is `null`.
    #[default]
    Absent,
    /// The value is a text.
    Text(String),
    /// The value is of another kind.
    Other,
}

impl Field {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Other => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's `untagged` keeps a value of any kind before it chooses: that takes 50 times the size of a list of
        // small numbers.
        deserializer.deserialize_any(AnyValue)
    }
}

/// A JSON object. serde would also accept a list of its fields in their order; this type does not.
pub(super) struct Object<D>(pub(super) D);

impl<'de, D: Deserialize<'de>> Deserialize<'de> for Object<D> {
    fn deserialize<S: Deserializer<'de>>(deserializer: S) -> Result<Self, S::Error> {
        deserializer.deserialize_map(OnlyMap(PhantomData)).map(Self)
    }
}

struct OnlyMap<D>(PhantomData<D>);

impl<'de, D: Deserialize<'de>> Visitor<'de> for OnlyMap<D> {
    type Value = D;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<D, A::Error> {
        D::deserialize(MapAccessDeserializer::new(object))
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Field, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_is_a_text_and_nothing_else_is_an_error() {
        for (json, field) in [
            (r#""web""#, Field::Text("web".into())),
            ("null", Field::Absent),
            ("true", Field::Other),
            ("-1", Field::Other),
            ("1e3", Field::Other),
            ("[1, [2], {}]", Field::Other),
            (r#"{"a": {"b": null}}"#, Field::Other),
        ] {
            assert_eq!(serde_json::from_str::<Field>(json).ok(), Some(field), "{json}");
        }
    }
}
