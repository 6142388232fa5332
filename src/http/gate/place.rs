use apollo_compiler::parser::SourceMap;
use async_graphql::Pos;

/// Where a byte offset of a document stands: line and column from 1, lines ending as the specification says, columns in
/// characters. The library's own looks all lines up for one, and ends lines at more characters.
pub(super) fn of(sources: &SourceMap, offset: usize) -> Option<Pos> {
    let text = sources.values().next()?.source_text();
    let before = text.get(..offset)?;
    let line_start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    // \r\n is one end of a line.
    let ends = before.matches(['\n', '\r']).count() - before.matches("\r\n").count();
    Some(Pos {
        line: ends + 1,
        column: before[line_start..].chars().count() + 1,
    })
}
