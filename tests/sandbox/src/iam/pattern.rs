//! Wildcards, in plain texts and in ARNs.

/// Returns whether a text matches a pattern in which `*` is any number of characters and `?` is one.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // The place of the last asterisk, and the part of the text that it has taken so far.
    let mut asterisk: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                asterisk = Some((at, in_text));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match asterisk {
                Some((star, taken)) => {
                    asterisk = Some((star, taken + 1));
                    at = star + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// Returns whether an ARN matches a pattern. Each of the six parts is compared by itself, so that a wildcard never reaches over a
/// colon, except in the last one (IAM user guide, "ArnLike"). IAM itself lets some wildcards in `Resource` reach further: a
/// policy that needs that is hard to read.
pub(super) fn arn_matches(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (pattern, arn): (Vec<&str>, Vec<&str>) = (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    pattern.len() == 6 && arn.len() == 6 && pattern.iter().zip(arn).all(|(pattern, part)| matches(pattern, part))
}

/// Returns whether a text can stand for a resource: `*`, or an ARN without policy variables, which are not modelled.
pub(super) fn is_resource(text: &str) -> bool {
    text == "*" || (text.splitn(6, ':').count() == 6 && text.starts_with("arn:") && !text.contains("${"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_take_as_much_as_is_needed() {
        for (pattern, text, is_match) in [
            ("elb-registrar:*", "elb-registrar:held.2", true),
            ("elb-registrar:*", "elb-registrar", false),
            ("*a*b", "xaabab", true),
            ("*a*b", "xaabac", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), is_match, "{pattern} {text}");
        }
    }

    #[test]
    fn a_wildcard_in_an_arn_stays_in_its_part() {
        let instance = "arn:aws:ec2:us-east-1:123456789012:instance/i-1";
        assert!(arn_matches("arn:*:ec2:*:123456789012:instance/*", instance));
        assert!(!arn_matches("arn:aws:ec2:*:instance/*", instance));
        assert!(!arn_matches("arn:aws:ec2:us-east-1:123456789012:volume/*", instance));
        assert!(arn_matches("*", "*"));
        assert!(!arn_matches(instance, "*"), "an action without a resource is allowed on * only");
    }
}
