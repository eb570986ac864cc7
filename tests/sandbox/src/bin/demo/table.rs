//! The table of the registrations.

use std::net::IpAddr;

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use sandbox::{
    World,
    fleet::{self, Fleet},
};

use crate::{
    paint::{BOLD, of_standing, paint},
    registered::{Snapshot, Standing},
};

/// The text of a cell without a registration.
const NOTHING: &str = "–";

/// The text for an instance without an address.
const NO_ADDRESS: &str = "no address";

/// The first letters of the names of instances.
const NAMES: [&str; 2] = ["web-", "app-"];

/// A column's head: an instance.
#[derive(Clone, Debug)]
struct Head {
    name: String,
    state: &'static str,
    address: Option<IpAddr>,
}

/// Returns the table of a fleet, in colours.
pub(crate) fn of_fleet(world: &World, fleet: &Fleet, snapshot: &Snapshot) -> String {
    let members = fleet.members.iter();
    let heads: Vec<Head> = members
        .map(|member| Head {
            name: member.name.to_owned(),
            state: world.ec2.instance(&member.id).map_or("gone", |instance| instance.state.name()),
            address: fleet::primary_address(world, &member.id),
        })
        .collect();
    let places: Vec<String> = fleet.places.iter().map(fleet::Place::label).collect();
    coloured(&plain(&heads, &places, snapshot))
}

/// Returns the table without colours, since it has to know how wide its cells are.
fn plain(heads: &[Head], places: &[String], snapshot: &Snapshot) -> String {
    let head = |head: &Head| {
        let address = head.address.map_or(NO_ADDRESS.to_owned(), |address| address.to_string());
        format!("{}\n{}\n{address}", head.name, head.state)
    };
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(std::iter::once("registered in".to_owned()).chain(heads.iter().map(head)));
    for (index, place) in places.iter().enumerate() {
        let cells = (0..heads.len()).map(|member| cell(snapshot, index, member));
        table.add_row(std::iter::once(place.clone()).chain(cells));
    }
    // The blanks that fill a line up are trimmed: they would only make a narrow terminal wrap.
    table.trim_fmt()
}

/// One line for each registration: two, while an old address drains and the new one is there.
fn cell(snapshot: &Snapshot, place: usize, member: usize) -> String {
    let of_cell = snapshot.iter().filter(|(key, _)| (key.place, key.member) == (place, member));
    let lines: Vec<String> = of_cell
        .map(|(key, standing)| match key.address {
            Some(address) => format!("{} {address}", standing.word()),
            None => standing.word().to_owned(),
        })
        .collect();
    if lines.is_empty() { NOTHING.to_owned() } else { lines.join("\n") }
}

/// Colours the cells that begin with a standing's word, and the instances' names.
fn coloured(table: &str) -> String {
    let styles = [Standing::Healthy, Standing::Initial, Standing::Draining]
        .into_iter()
        .chain(["unused", "unhealthy", "OutOfService"].map(Standing::Down))
        .map(|standing| (standing.word(), of_standing(standing)));
    let styles: Vec<_> = styles.collect();
    let cell = |cell: &str| {
        let text = cell.trim();
        let word = text.split(' ').next().unwrap_or_default();
        match styles.iter().find(|(known, _)| *known == word) {
            Some((_, style)) => cell.replacen(text, &paint(*style, text), 1),
            None if NAMES.iter().any(|names| word.starts_with(names)) => cell.replacen(text, &paint(BOLD, text), 1),
            None => cell.to_owned(),
        }
    };
    let piece = |piece: &str| match piece.char_indices().next_back() {
        Some((end, border @ ('│' | '┆'))) => format!("{}{border}", cell(&piece[..end])),
        _ => piece.to_owned(),
    };
    let line = |line: &str| line.split_inclusive(['│', '┆']).map(piece).collect::<String>();
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registered::Key;

    fn example() -> String {
        let address = |last: u8| Some(IpAddr::from([10, 0, 1, last]));
        let head = |name: &str, state, address| Head { name: name.to_owned(), state, address };
        let heads = [head("web-1", "running", address(10)), head("web-2", "stopped", None)];
        let key = |place, member, address| Key { place, member, address };
        let snapshot = Snapshot::from([
            (key(0, 0, None), Standing::Healthy),
            (key(1, 0, address(10)), Standing::Down("unhealthy")),
            (key(1, 1, address(11)), Standing::Draining),
            (key(1, 1, address(13)), Standing::Initial),
        ]);
        plain(&heads, &["shop".to_owned(), "edge:443".to_owned()], &snapshot)
    }

    #[test]
    fn each_cell_says_how_an_instance_stands_in_a_place() {
        let expected = "\
┌───────────────┬─────────────────────┬────────────────────┐
│ registered in ┆ web-1               ┆ web-2              │
│               ┆ running             ┆ stopped            │
│               ┆ 10.0.1.10           ┆ no address         │
╞═══════════════╪═════════════════════╪════════════════════╡
│ shop          ┆ healthy             ┆ –                  │
│ edge:443      ┆ unhealthy 10.0.1.10 ┆ draining 10.0.1.11 │
│               ┆                     ┆ initial 10.0.1.13  │
└───────────────┴─────────────────────┴────────────────────┘";
        assert_eq!(example(), expected);
    }

    #[test]
    fn colours_change_no_letter() {
        let coloured = coloured(&example());
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), example());
    }
}
