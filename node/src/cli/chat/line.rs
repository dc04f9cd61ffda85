//! What somebody types: pure.

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    User(String),
    Room(String),
    Everyone,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Words for the conversation that is on.
    Text(String),
    /// Words for somebody; without words, the conversation turns there.
    To(Target, String),
    /// Words for the room that was joined last.
    Say(String),
    Join(String),
    Leave(Option<String>),
    Status(Option<String>),
    Who,
    Help,
    Quit,
    Nothing,
}

/// What can be typed.
pub(super) const HELP: &str = "\
@billy hi        to a user; @\"billy b\" if the name has spaces
#tea hi          to a room that you are in
/all hi          to everybody who is online
hi               to whom you spoke last
/join tea        enter a room; /leave tea
/say hi          to the room that you entered last
/who             who is online
/away lunch      what others see beside your name; /back
/quit            leave, once all is settled";

/// Reads a line; the error says what is wrong with it.
pub(super) fn parse(line: &str) -> Result<Line, String> {
    let line = line.trim();
    let Some(first) = line.chars().next() else { return Ok(Line::Nothing) };
    let rest = &line[first.len_utf8()..];
    match first {
        '@' => named(rest).map(|(name, text)| Line::To(Target::User(name), text)),
        '#' => named(rest).map(|(name, text)| Line::To(Target::Room(name), text)),
        // Two are for a text that begins with one.
        '/' if rest.starts_with('/') => Ok(Line::Text(rest.into())),
        '/' => command(rest),
        _ => Ok(Line::Text(line.into())),
    }
}

fn command(text: &str) -> Result<Line, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim().to_owned();
    let some = |rest: String, what: &str| match rest.is_empty() {
        true => Err(format!("/{word} what? write /{word} {what}")),
        false => Ok(rest),
    };
    Ok(match word {
        "all" => Line::To(Target::Everyone, some(rest, "text")?),
        "say" => Line::Say(some(rest, "text")?),
        "join" => Line::Join(unquoted(some(rest, "room")?)),
        "leave" => Line::Leave(Some(rest).filter(|room| !room.is_empty()).map(unquoted)),
        "away" if rest.is_empty() => Line::Status(Some("away".into())),
        "away" => Line::Status(Some(rest)),
        "back" => Line::Status(None),
        "who" => Line::Who,
        "help" => Line::Help,
        "quit" => Line::Quit,
        _ => return Err(format!("there is no /{word}: /help says what there is")),
    })
}

/// A name, in quotes if it has spaces, and what follows it.
fn named(text: &str) -> Result<(String, String), String> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("the quote does not end")?,
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    };
    match name.is_empty() {
        true => Err("to whom? write @name text, or #room text".into()),
        false => Ok((name.into(), rest.trim().into())),
    }
}

/// A room's name is all that follows, quoted or not.
fn unquoted(text: String) -> String {
    let inner = text.strip_prefix(['"', '#']).map(|rest| rest.strip_suffix('"').unwrap_or(rest));
    inner.map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, text: &str) -> Result<Line, String> {
        Ok(Line::To(Target::User(name.into()), text.into()))
    }

    #[test]
    fn lines_are_read_as_they_are_meant() {
        assert_eq!(parse("@billy  hi there "), user("billy", "hi there"));
        assert_eq!(parse("@\"billy b\" hi"), user("billy b", "hi"));
        assert_eq!(parse("@Анна"), user("Анна", ""));
        assert_eq!(parse("#tea hi"), Ok(Line::To(Target::Room("tea".into()), "hi".into())));
        assert_eq!(parse("/all to all"), Ok(Line::To(Target::Everyone, "to all".into())));
        assert_eq!(parse("/say hi"), Ok(Line::Say("hi".into())));
        assert_eq!(parse("/join tea room"), Ok(Line::Join("tea room".into())));
        assert_eq!(parse("/join #tea"), Ok(Line::Join("tea".into())));
        assert_eq!(parse("/leave"), Ok(Line::Leave(None)));
        assert_eq!(parse("/leave \"tea room\""), Ok(Line::Leave(Some("tea room".into()))));
        assert_eq!(parse("/away"), Ok(Line::Status(Some("away".into()))));
        assert_eq!(parse("/away at lunch"), Ok(Line::Status(Some("at lunch".into()))));
        assert_eq!(parse("/back"), Ok(Line::Status(None)));
        assert_eq!(parse(" hi @billy "), Ok(Line::Text("hi @billy".into())));
        assert_eq!(parse("//who"), Ok(Line::Text("/who".into())));
        assert_eq!(parse("  "), Ok(Line::Nothing));
    }

    #[test]
    fn what_is_no_line_says_what_is_wrong() {
        for (line, why) in [
            ("@", "to whom"),
            ("@ billy", "to whom"),
            ("@\"billy hi", "quote"),
            ("/all", "/all text"),
            ("/join", "/join room"),
            ("/nonsense", "/help"),
            ("/", "/help"),
        ] {
            assert!(parse(line).unwrap_err().contains(why), "{line}");
        }
    }
}
