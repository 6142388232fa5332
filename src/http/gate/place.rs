use apollo_compiler::parser::SourceMap;
use async_graphql::Pos;

/// Where a byte offset of a document stands.
pub(super) fn of(sources: &SourceMap, offset: usize) -> Option<Pos> {
    let text = sources.values().next()?.source_text();
    Some(in_text(text, offset))
}

/// Where a byte offset of a text stands: line and column from 1, lines ending as the specification says, columns in
/// characters. apollo-compiler's own looks all lines up for one, and ends lines at more characters.
pub(super) fn in_text(text: &str, offset: usize) -> Pos {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    // \r\n is one end of a line.
    let ends = before.matches(['\n', '\r']).count() - before.matches("\r\n").count();
    Pos {
        line: ends + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
