//! Columns as Go's `tabwriter` makes them for Docker: cells end with a tab, a column is as wide as its widest cell plus
//! three spaces, and at least ten; the last cell of a line is not padded. A line without the cell ends the column.
pub(crate) fn align(text: &str, width_min: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|l| l.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    let deepest = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..deepest {
        let mut start = 0;
        while start < lines.len() {
            if widths[start].len() <= column {
                start += 1;
                continue;
            }
            let mut end = start;
            let mut width = width_min;
            while end < lines.len() && widths[end].len() > column {
                width = width.max(lines[end][column].chars().count() + 3);
                end += 1;
            }
            widths[start..end].iter_mut().for_each(|w| w[column] = width);
            start = end;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (n, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if n > 0 {
            out.push('\n');
        }
        for (i, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(i) {
                out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_are_dockers() {
        let table = [
            ("ID\tNAME\tX", "ID        NAME      X"),
            ("NETWORK ID\tNAME\n0123456789ab\tbridge", "NETWORK ID     NAME\n0123456789ab   bridge"),
            ("a\t\tc\nlonger than ten\tb\tc", "a                           c\nlonger than ten   b         c"),
            ("plain", "plain"),
            ("a\tb\n\nlonglonglong\tb", "a         b\n\nlonglonglong   b"),
        ];
        for (text, aligned) in table {
            assert_eq!(align(text, 10), aligned, "{text:?}");
        }
    }
}
