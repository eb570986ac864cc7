//! Conditions of a statement, over the facts of a request (IAM user guide, "IAM JSON policy elements: Condition operators" and
//! "Multivalued context keys").

use super::{Context, pattern, policy::BadPolicy};

/// Keys of which a request has one value.
const SINGLE: [&str; 13] = [
    "aws:securetransport",
    "kms:viaservice",
    "lambda:sourcefunctionarn",
    "aws:requestedregion",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:resourceaccount",
    "aws:sourcearn",
    "aws:sourceaccount",
    "ec2:region",
    // Only in a call that creates and tags a resource in one: never in those of the sandbox.
    "ec2:createaction",
    "ec2:instanceid",
    "lambda:functionarn",
];

/// Keys of which a request has one value for each tag.
const OF_TAGS: [&str; 5] = [
    "aws:requesttag/",
    "aws:resourcetag/",
    "ec2:resourcetag/",
    "elasticloadbalancing:resourcetag/",
    "autoscaling:resourcetag/",
];

/// Keys of which a request has a set of values.
const MULTIPLE: [&str; 1] = ["aws:tagkeys"];

/// One key that is compared with some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    set: Set,
    test: Test,
    /// `...IfExists`: a request without the key meets it.
    if_exists: bool,
    /// In small letters, since case does not matter.
    key: String,
    values: Vec<String>,
}

/// How the values of the request count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    One,
    ForAll,
    ForAny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoringCase,
    Like,
    Arn,
    Bool,
    Null,
    Not(Negated),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Negated {
    Equals,
    Like,
    Arn,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// If the operator or the key is not modelled, or the two do not go together.
    pub(super) fn read(operator: &str, key: &str, values: Vec<String>) -> Result<Self, BadPolicy> {
        let (set, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Set::ForAll, rest),
            Some(("ForAnyValue", rest)) => (Set::ForAny, rest),
            _ => (Set::One, operator),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let test = match rest {
            "StringEquals" => Test::Equals,
            "StringEqualsIgnoreCase" => Test::EqualsIgnoringCase,
            "StringLike" => Test::Like,
            "ArnEquals" | "ArnLike" => Test::Arn,
            "Bool" => Test::Bool,
            "Null" if !if_exists => Test::Null,
            "StringNotEquals" => Test::Not(Negated::Equals),
            "StringNotLike" => Test::Not(Negated::Like),
            "ArnNotEquals" | "ArnNotLike" => Test::Not(Negated::Arn),
            _ => return Err(BadPolicy(format!("the condition operator {operator} is not modelled by the sandbox"))),
        };
        let key = key.to_lowercase();
        let is_multiple = MULTIPLE.contains(&key.as_str());
        if !is_multiple && !SINGLE.contains(&key.as_str()) && !OF_TAGS.iter().any(|start| key.starts_with(start)) {
            return Err(BadPolicy(format!("the condition key {key} is not modelled by the sandbox")));
        }
        if is_multiple && set == Set::One && test != Test::Null {
            return Err(BadPolicy(format!("{key} has several values: {operator} needs ForAllValues or ForAnyValue")));
        }
        if let Some(value) = values.iter().find(|value| value.contains("${")) {
            return Err(BadPolicy(format!("the policy variable in {value} is not modelled by the sandbox")));
        }
        let is_flag = matches!(test, Test::Bool | Test::Null);
        if is_flag && values.iter().any(|value| value != "true" && value != "false") {
            return Err(BadPolicy(format!("{operator} compares with true or false")));
        }
        Ok(Self { set, test, if_exists, key, values })
    }

    /// Returns whether a request meets it.
    pub(super) fn is_met(&self, context: &Context) -> bool {
        let present = context.get(&self.key).filter(|values| !values.is_empty());
        if self.test == Test::Null {
            return self.values.iter().any(|wanted| (wanted == "true") == present.is_none());
        }
        let Some(present) = present else {
            // "ForAllValues also returns true if there are no context keys in the request": a policy that forgets it lets a
            // DeleteTags without keys pass.
            let is_negated = matches!(self.test, Test::Not(_));
            return self.if_exists || self.set == Set::ForAll || (is_negated && self.set != Set::ForAny);
        };
        match self.set {
            Set::ForAll => present.iter().all(|value| self.compare(value)),
            Set::One | Set::ForAny => present.iter().any(|value| self.compare(value)),
        }
    }

    fn compare(&self, value: &str) -> bool {
        let any = |is_it: fn(&str, &str) -> bool| self.values.iter().any(|wanted| is_it(wanted, value));
        match self.test {
            Test::Equals => any(|wanted, value| wanted == value),
            Test::EqualsIgnoringCase | Test::Bool => any(|wanted, value| wanted.eq_ignore_ascii_case(value)),
            Test::Like => any(pattern::matches),
            Test::Arn => any(pattern::arn_matches),
            Test::Not(Negated::Equals) => !any(|wanted, value| wanted == value),
            Test::Not(Negated::Like) => !any(pattern::matches),
            Test::Not(Negated::Arn) => !any(pattern::arn_matches),
            Test::Null => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(operator: &str, key: &str, values: &[&str], present: &[&str]) -> bool {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let present = present.iter().map(|value| (*value).to_owned()).collect();
        Condition::read(operator, key, values).unwrap().is_met(&Context::from([(key.to_lowercase(), present)]))
    }

    #[test]
    fn all_values_of_a_set_have_to_match_and_none_is_all() {
        let ours = &["elb-registrar:*"];
        for (present, for_all, for_any) in [
            (&["elb-registrar:held"][..], true, true),
            (&["elb-registrar:held", "Name"], false, true),
            (&["Name"], false, false),
            (&[], true, false),
        ] {
            assert_eq!(is_met("ForAllValues:StringLike", "aws:TagKeys", ours, present), for_all, "{present:?}");
            assert_eq!(is_met("ForAnyValue:StringLike", "aws:TagKeys", ours, present), for_any, "{present:?}");
            assert_eq!(is_met("Null", "aws:TagKeys", &["false"], present), !present.is_empty(), "{present:?}");
        }
    }

    #[test]
    fn an_absent_key_meets_only_what_says_so() {
        for (operator, if_absent) in [
            ("StringEquals", false),
            ("StringEqualsIfExists", true),
            ("StringNotEquals", true),
            ("ArnLike", false),
            ("Bool", false),
        ] {
            assert_eq!(is_met(operator, "aws:SourceAccount", &["true"], &[]), if_absent, "{operator}");
        }
    }

    #[test]
    fn unmodelled_conditions_are_refused() {
        let refused = |operator: &str, key: &str| Condition::read(operator, key, vec!["1".to_owned()]).unwrap_err().0;
        assert!(refused("NumericEquals", "aws:SourceAccount").contains("NumericEquals"));
        assert!(refused("StringEquals", "aws:CurrentTime").contains("aws:currenttime"));
        assert!(refused("StringLike", "aws:TagKeys").contains("needs ForAllValues"));
    }
}
