//! Where apollo-parser 0.8 departs from the grammar of the specification: its look-ahead does not pass over commas, it drops
//! an argument that has no colon, and it does not know descriptions of operations, fragments and variables (September
//! 2025). Its own tokens are enough to tell.

use std::{borrow::Cow, ops::Range};

use apollo_parser::{Lexer, Token, TokenKind};

/// The same document as apollo-parser understands it: spaces stand for commas and for those descriptions, so that
/// everything else keeps its place.
///
/// # Errors
/// Where it has more tokens than the limit, blanks, comments and the end among them, or a name without the colon that it
/// needs.
pub(super) fn readable(text: &str, token_limit: usize) -> Result<Cow<'_, str>, Unreadable> {
    let mut ignored: Vec<Range<usize>> = Vec::new();
    let mut tokens = Vec::new();
    // What is no token is told by the parser.
    for (number, token) in Lexer::new(text).map_while(Result::ok).enumerate() {
        if number >= token_limit {
            return Err(Unreadable::TooLong(token.index()));
        }
        match token.kind() {
            TokenKind::Whitespace | TokenKind::Comment | TokenKind::Eof => {}
            TokenKind::Comma => ignored.push(place(&token)),
            _ => tokens.push(token),
        }
    }
    let mut reader = Reader {
        open: Vec::new(),
        ignored,
    };
    reader.read(&tokens).map_err(Unreadable::NoColon)?;
    if reader.ignored.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = text.as_bytes().to_vec();
    for byte in reader.ignored.into_iter().flatten() {
        // Lines stay lines, so that places stay places.
        if !matches!(bytes[byte], b'\n' | b'\r') {
            bytes[byte] = b' ';
        }
    }
    Ok(String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned))
}

/// Why a document is not read, at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    TooLong(usize),
    NoColon(usize),
}

/// What was opened and not yet closed.
#[derive(Clone, Copy, Debug)]
enum Open {
    Selection,
    /// `(` before variables.
    Definitions,
    /// `[` of values or of a type.
    List,
    /// `(` before arguments.
    Arguments(Expected),
    /// `{` of a value.
    Object(Expected),
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Name,
    Value,
}

struct Reader {
    open: Vec<Open>,
    ignored: Vec<Range<usize>>,
}

impl Reader {
    /// Follows the brackets. Where they make no sense it stops: the parser says what is wrong.
    fn read(&mut self, tokens: &[Token<'_>]) -> Result<(), usize> {
        let mut previous = None;
        for (number, token) in tokens.iter().enumerate() {
            let next = tokens.get(number + 1);
            let kind = token.kind();
            match self.open.last().copied() {
                None | Some(Open::Selection) => match kind {
                    TokenKind::LCurly => self.open.push(Open::Selection),
                    TokenKind::RCurly => _ = self.open.pop(),
                    TokenKind::LParen => self.open.push(of_parenthesis(next)),
                    TokenKind::StringValue if self.open.is_empty() && is_definition(next) => {
                        self.ignored.push(place(token));
                    }
                    _ => {}
                },
                Some(Open::Definitions) => match kind {
                    TokenKind::RParen => _ = self.open.pop(),
                    TokenKind::LParen => self.open.push(Open::Arguments(Expected::Name)),
                    TokenKind::LBracket => self.open.push(Open::List),
                    TokenKind::LCurly => self.open.push(Open::Object(Expected::Name)),
                    TokenKind::StringValue
                        if previous != Some(TokenKind::Eq) && is(next, TokenKind::Dollar) =>
                    {
                        self.ignored.push(place(token));
                    }
                    _ => {}
                },
                Some(Open::Arguments(Expected::Name) | Open::Object(Expected::Name)) => {
                    match kind {
                        TokenKind::Name => match next {
                            Some(next) if next.kind() != TokenKind::Colon => {
                                return Err(token.index());
                            }
                            // Where the tokens end, that is what is wrong.
                            _ => {}
                        },
                        TokenKind::Colon => self.expect(Expected::Value),
                        TokenKind::RParen | TokenKind::RCurly => self.close(),
                        _ => return Ok(()),
                    }
                }
                Some(Open::List | Open::Arguments(_) | Open::Object(_)) => match kind {
                    TokenKind::LBracket => self.open.push(Open::List),
                    TokenKind::LCurly => self.open.push(Open::Object(Expected::Name)),
                    TokenKind::RBracket => self.close(),
                    TokenKind::Name
                    | TokenKind::Int
                    | TokenKind::Float
                    | TokenKind::StringValue => self.expect(Expected::Name),
                    TokenKind::Dollar | TokenKind::Bang => {}
                    _ => return Ok(()),
                },
            }
            previous = Some(kind);
        }
        Ok(())
    }

    /// A value has ended with its bracket.
    fn close(&mut self) {
        let closed = self.open.pop();
        if !matches!(closed, Some(Open::Arguments(_))) {
            self.expect(Expected::Name);
        }
    }

    /// What comes next among arguments and fields of values; elsewhere anything may.
    fn expect(&mut self, next: Expected) {
        if let Some(Open::Arguments(expected) | Open::Object(expected)) = self.open.last_mut() {
            *expected = next;
        }
    }
}

/// Only variables begin with `$`, or with a description before it.
fn of_parenthesis(next: Option<&Token<'_>>) -> Open {
    if is(next, TokenKind::Dollar) || is(next, TokenKind::StringValue) {
        Open::Definitions
    } else {
        Open::Arguments(Expected::Name)
    }
}

fn is_definition(next: Option<&Token<'_>>) -> bool {
    next.is_some_and(|next| {
        matches!(
            next.data(),
            "query" | "mutation" | "subscription" | "fragment"
        )
    })
}

fn is(token: Option<&Token<'_>>, kind: TokenKind) -> bool {
    token.is_some_and(|token| token.kind() == kind)
}

fn place(token: &Token<'_>) -> Range<usize> {
    token.index()..token.index() + token.data().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, Unreadable> {
        readable(text, 1_000).map(Cow::into_owned)
    }

    #[test]
    fn commas_and_descriptions_are_spaces_of_the_same_length() {
        for (text, readable) in [
            ("{a,:b(x:1,y:[1,2]),...,F}", "{a :b(x:1 y:[1 2]) ... F}"),
            (
                r#"{a(x:",",y:""","\""",""") # ,"#,
                r#"{a(x:"," y:""","\""",""") # ,"#,
            ),
            (
                "\"é\"query(\"\"\"a\nb\"\"\"$v:[S!]!=[\"x\"]$w:S=\"y\"){a}",
                "    query(    \n    $v:[S!]!=[\"x\"]$w:S=\"y\"){a}",
            ),
            (
                "query($v:I={a:\"x\"}@d(r:\"y\") \"z\" $w:S){a}",
                "query($v:I={a:\"x\"}@d(r:\"y\")     $w:S){a}",
            ),
        ] {
            assert_eq!(read(text).as_deref(), Ok(readable));
        }
    }

    #[test]
    fn a_name_without_its_colon_is_found() {
        for (text, offset) in [
            ("{a(b)}", 3),
            ("{a@include(if if:true)}", 11),
            ("{a(b:{c:1 d})}", 10),
            ("{a(b:[{c}])}", 7),
            ("query($v:I={a:{b} c:1}){x}", 15),
            ("{a(b:$c d)}", 8),
        ] {
            assert_eq!(read(text), Err(Unreadable::NoColon(offset)), "{text}");
        }
        for text in [
            "{a(b:c d:E e:null f:-1.5 g:[] h:{} i:[{j:1}] k:$k)@x(y:1){z}}",
            "query Q($a:[[Int!]!]! $b:T={c:[1]}@d(e:{f:1})){a}",
            "fragment F on T@x(y:1){a b(c:1)}",
        ] {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
    }
}
