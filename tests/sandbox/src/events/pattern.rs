//! Event patterns: the events that a rule wants (EventBridge user guide, "Comparison operators").
//!
//! A pattern is understood as a whole when the rule is made. A part that is not understood is refused then, not ignored later.

use serde_json::{Map, Number, Value};

use crate::wire::ApiError;

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    fields: Vec<(String, Field)>,
    /// `$or`: of each of these lists, one must match.
    choices: Vec<Vec<Pattern>>,
}

#[derive(Clone, Debug)]
enum Field {
    /// An object, whose fields must match.
    Nested(Pattern),
    /// An array: one of these must match.
    Leaf(Vec<Matcher>),
}

#[derive(Clone, Debug)]
enum Matcher {
    Exactly(Value),
    Text(Text),
    AnythingBut(Vec<Value>),
    AnythingButText(Vec<Text>),
    Exists(bool),
    Numeric(Vec<(Comparison, f64)>),
}

/// Matchers of texts, which can also stand in an `anything-but`.
#[derive(Clone, Debug)]
enum Text {
    Prefix(String),
    Suffix(String),
    IgnoringCase(String),
    PrefixIgnoringCase(String),
    SuffixIgnoringCase(String),
    /// The parts between the asterisks.
    Wildcard(Vec<String>),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `InvalidEventPatternException`, if EventBridge would refuse it, too. `cidr` is not modelled.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Self::read(&object),
            Ok(_) => Err(refuse("Filter is not an object")),
            Err(error) => Err(refuse(&error.to_string())),
        }
    }

    fn read(object: &Map<String, Value>) -> Result<Self, ApiError> {
        if object.is_empty() {
            return Err(refuse("Empty objects are not allowed"));
        }
        let mut pattern = Self { fields: Vec::new(), choices: Vec::new() };
        for (name, value) in object {
            match value {
                Value::Array(choices) if name == "$or" => pattern.choices.push(read_choices(choices)?),
                Value::Object(nested) => pattern.fields.push((name.clone(), Field::Nested(Self::read(nested)?))),
                Value::Array(values) if values.is_empty() => return Err(refuse("Empty arrays are not allowed")),
                Value::Array(values) => {
                    let matchers: Result<_, _> = values.iter().map(Matcher::read).collect();
                    pattern.fields.push((name.clone(), Field::Leaf(matchers?)));
                }
                _ => return Err(refuse(&format!("\"{name}\" must be an object or an array"))),
            }
        }
        Ok(pattern)
    }

    /// Returns whether the pattern matches an event.
    pub fn matches(&self, event: &Value) -> bool {
        let field_matches = |(name, field): &(String, Field)| match (field, event.get(name)) {
            (Field::Leaf(matchers), value) => matchers.iter().any(|matcher| matcher.matches(value)),
            (Field::Nested(pattern), Some(Value::Array(values))) => values.iter().any(|value| pattern.matches(value)),
            // A missing value has no fields either: only `exists: false` further down can match.
            (Field::Nested(pattern), value) => pattern.matches(value.unwrap_or(&Value::Null)),
        };
        self.fields.iter().all(field_matches)
            && self.choices.iter().all(|choices| choices.iter().any(|pattern| pattern.matches(event)))
    }
}

fn read_choices(choices: &[Value]) -> Result<Vec<Pattern>, ApiError> {
    if choices.len() < 2 {
        return Err(refuse("\"$or\" must have at least two objects"));
    }
    let read = |choice: &Value| choice.as_object().map(Pattern::read);
    choices
        .iter()
        .map(|choice| read(choice).unwrap_or_else(|| Err(refuse("\"$or\" must be an array of objects"))))
        .collect()
}

impl Matcher {
    fn read(value: &Value) -> Result<Self, ApiError> {
        let object = match value {
            Value::Object(object) => object,
            Value::Array(_) => return Err(refuse("Nested arrays are not allowed")),
            exactly => return Ok(Self::Exactly(exactly.clone())),
        };
        let (name, argument) = only_field(object)?;
        match (name, argument) {
            ("exists", Value::Bool(exists)) => Ok(Self::Exists(*exists)),
            ("numeric", Value::Array(range)) => read_range(range).map(Self::Numeric),
            ("anything-but", Value::Object(inner)) => {
                let (name, argument) = only_field(inner)?;
                let arguments = argument.as_array().cloned().unwrap_or_else(|| vec![argument.clone()]);
                let texts: Result<_, _> = arguments.iter().map(|argument| Text::read(name, argument)).collect();
                Ok(Self::AnythingButText(texts?))
            }
            ("anything-but", Value::Array(values)) if !values.is_empty() => values
                .iter()
                .all(|value| value.is_string() || value.is_number())
                .then(|| Self::AnythingBut(values.clone()))
                .ok_or_else(|| refuse("Inside anything-but list, only texts and numbers are allowed")),
            ("anything-but", Value::String(_) | Value::Number(_)) => Ok(Self::AnythingBut(vec![argument.clone()])),
            ("cidr", _) => Err(ApiError::not_modelled("the matcher cidr of event patterns")),
            (name, argument) => Text::read(name, argument).map(Self::Text),
        }
    }

    /// Returns whether a field matches. An array matches if one of its elements does.
    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            // Only a leaf exists in the sense of `exists`: an object does not.
            (Self::Exists(exists), value) => *exists == value.is_some_and(|value| !value.is_object()),
            (_, None | Some(Value::Object(_))) => false,
            (_, Some(Value::Array(elements))) => elements.iter().any(|element| self.matches(Some(element))),
            (Self::Exactly(exactly), Some(value)) => exactly == value,
            (Self::Text(text), Some(value)) => value.as_str().is_some_and(|value| text.matches(value)),
            (Self::AnythingBut(values), Some(value)) => !values.contains(value),
            (Self::AnythingButText(texts), Some(value)) => {
                value.as_str().is_some_and(|value| !texts.iter().any(|text| text.matches(value)))
            }
            (Self::Numeric(range), Some(value)) => {
                value.as_f64().is_some_and(|value| range.iter().all(|(how, bound)| how.holds(value, *bound)))
            }
        }
    }
}

impl Text {
    fn read(name: &str, argument: &Value) -> Result<Self, ApiError> {
        let ignoring_case = argument.get("equals-ignore-case").and_then(Value::as_str).map(str::to_lowercase);
        match (name, argument.as_str().map(str::to_owned), ignoring_case) {
            ("prefix", Some(text), _) => Ok(Self::Prefix(text)),
            ("suffix", Some(text), _) => Ok(Self::Suffix(text)),
            ("equals-ignore-case", Some(text), _) => Ok(Self::IgnoringCase(text.to_lowercase())),
            ("prefix", None, Some(text)) => Ok(Self::PrefixIgnoringCase(text)),
            ("suffix", None, Some(text)) => Ok(Self::SuffixIgnoringCase(text)),
            ("wildcard", Some(text), _) => read_wildcard(&text).map(Self::Wildcard),
            _ => Err(refuse(&format!("Unrecognized match type {name}, or its argument {argument} is wrong"))),
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Prefix(text) => value.starts_with(text),
            Self::Suffix(text) => value.ends_with(text),
            Self::IgnoringCase(text) => value.to_lowercase() == *text,
            Self::PrefixIgnoringCase(text) => value.to_lowercase().starts_with(text),
            Self::SuffixIgnoringCase(text) => value.to_lowercase().ends_with(text),
            Self::Wildcard(parts) => wildcard_matches(parts, value),
        }
    }
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            // The guide promises no more than about 15 significant digits.
            Self::Equal => (value - bound).abs() <= f64::EPSILON * bound.abs(),
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }
}

fn only_field(object: &Map<String, Value>) -> Result<(&str, &Value), ApiError> {
    let mut fields = object.iter();
    match (fields.next(), fields.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(refuse("Only one key allowed in match expression")),
    }
}

/// `[">", 0, "<=", 5]`
fn read_range(range: &[Value]) -> Result<Vec<(Comparison, f64)>, ApiError> {
    let wrong = || refuse("Value of numeric must be an array of operators and numbers");
    if range.is_empty() || !range.len().is_multiple_of(2) || range.len() > 4 {
        return Err(wrong());
    }
    let read = |pair: &[Value]| {
        let comparison = match pair[0].as_str()? {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        Some((comparison, pair[1].as_number().and_then(Number::as_f64)?))
    };
    range.chunks_exact(2).map(|pair| read(pair).ok_or_else(wrong)).collect()
}

/// Splits at asterisks; `\*` and `\\` are the characters themselves.
fn read_wildcard(text: &str) -> Result<Vec<String>, ApiError> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let literal = match character {
            '*' if characters.peek() == Some(&'*') => {
                return Err(refuse("Consecutive wildcard characters are not allowed"));
            }
            '*' => {
                parts.push(String::new());
                continue;
            }
            '\\' => characters
                .next()
                .filter(|escaped| matches!(escaped, '*' | '\\'))
                .ok_or_else(|| refuse("Invalid escape character"))?,
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(literal);
        }
    }
    Ok(parts)
}

fn wildcard_matches(parts: &[String], value: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == value) };
    let Some(mut rest) = value.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        // The leftmost place is always right: the text after an asterisk may begin anywhere behind it.
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

fn refuse(reason: &str) -> ApiError {
    ApiError::sender("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(pattern: Value, event: &Value) -> bool {
        Pattern::parse(&pattern.to_string()).unwrap_or_else(|e| panic!("{pattern}: {e}")).matches(event)
    }

    #[test]
    fn patterns_match_as_the_guide_says() {
        let event = json!({
            "source": "aws.ec2", "count": 3, "ratio": 0.5, "nothing": null, "on": true, "empty": "",
            "resources": ["arn:a", "arn:b"], "detail": {"state": "stopped", "deep": {"name": "Web-1"}},
        });
        let table = [
            (json!({"source": ["aws.ec2"]}), true),
            (json!({"source": ["aws.autoscaling", "aws.ec2"]}), true),
            (json!({"source": ["aws.autoscaling"]}), false),
            (json!({"source": ["aws.ec2"], "detail": {"state": ["running"]}}), false),
            (json!({"detail": {"state": ["stopped"], "deep": {"name": ["Web-1"]}}}), true),
            (json!({"count": [3]}), true),
            (json!({"count": ["3"]}), false),
            (json!({"nothing": [null], "on": [true], "empty": [""]}), true),
            (json!({"missing": [null]}), false),
            (json!({"resources": ["arn:b"]}), true),
            (json!({"source": [{"prefix": "aws."}]}), true),
            (json!({"source": [{"prefix": "ec2"}]}), false),
            (json!({"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}), true),
            (json!({"source": [{"suffix": "ec2"}]}), true),
            (json!({"source": [{"suffix": {"equals-ignore-case": "EC2"}}]}), true),
            (json!({"source": [{"equals-ignore-case": "AWS.EC2"}]}), true),
            (json!({"source": [{"anything-but": "aws.ec2"}]}), false),
            (json!({"source": [{"anything-but": ["aws.s3", "aws.sqs"]}]}), true),
            (json!({"source": [{"anything-but": {"prefix": "aws."}}]}), false),
            (json!({"source": [{"anything-but": {"suffix": [".s3", ".ec2"]}}]}), false),
            (json!({"source": [{"anything-but": {"wildcard": "*.s3"}}]}), true),
            (json!({"missing": [{"anything-but": "x"}]}), false),
            (json!({"count": [{"anything-but": [4, 5]}]}), true),
            (json!({"missing": [{"exists": false}], "source": [{"exists": true}]}), true),
            (json!({"source": [{"exists": false}]}), false),
            (json!({"detail": [{"exists": true}]}), false),
            (json!({"gone": {"deep": [{"exists": false}]}}), true),
            (json!({"count": [{"numeric": [">", 0, "<=", 3]}]}), true),
            (json!({"count": [{"numeric": ["<", 3]}]}), false),
            (json!({"ratio": [{"numeric": ["=", 0.5]}]}), true),
            (json!({"source": [{"numeric": ["=", 3]}]}), false),
            (json!({"source": [{"wildcard": "a*.e*2"}]}), true),
            (json!({"source": [{"wildcard": "a*.s*"}]}), false),
            (json!({"detail": {"deep": {"name": [{"wildcard": "Web\\*"}]}}}), false),
            (json!({"$or": [{"count": [4]}, {"on": [true]}]}), true),
            (json!({"source": ["aws.s3"], "$or": [{"count": [3]}, {"on": [true]}]}), false),
            (json!({"detail": {"$or": [{"state": ["a"]}, {"state": ["b"]}]}}), false),
        ];
        for (pattern, expected) in table {
            assert_eq!(matches(pattern.clone(), &event), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_is_not_understood_is_refused() {
        let table = [
            json!({"source": "aws.ec2"}),
            json!({"source": []}),
            json!({"detail": {}}),
            json!({"source": [{"sounds-like": "x"}]}),
            json!({"source": [{"prefix": 3}]}),
            json!({"source": [{"prefix": "a", "suffix": "b"}]}),
            json!({"source": [["nested"]]}),
            json!({"count": [{"numeric": [">"]}]}),
            json!({"count": [{"numeric": ["!", 3]}]}),
            json!({"source": [{"wildcard": "a**b"}]}),
            json!({"$or": [{"count": [4]}]}),
            json!(["aws.ec2"]),
        ];
        for pattern in table {
            let error = Pattern::parse(&pattern.to_string()).expect_err(&pattern.to_string());
            assert_eq!(error.code, "InvalidEventPatternException", "{pattern}");
        }
    }
}
