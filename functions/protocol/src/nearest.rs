//! The known name that a misspelt one most likely means, for sentences that ask "did you mean".

/// Returns the known name that is nearest to a misspelt one, if at most a third of its characters differ. Case does not
/// count.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_lowercase());
    let near = known.into_iter().map(|known| (distance(known), known));
    let near = near.filter(|(distance, known)| 3 * distance <= known.chars().count().max(name.chars().count()));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["web", "web-internal", "edge"];
        for (name, meant) in [
            ("wbe", Some("web")),
            ("WEB", Some("web")),
            ("web-interal", Some("web-internal")),
            ("edgy", Some("edge")),
            ("shop", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
        assert_eq!(nearest("web", []), None);
    }
}
