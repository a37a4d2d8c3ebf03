// Package trees serves forests of decision trees natively: LightGBM's text
// files (v3 and v4) and XGBoost's, in JSON and UBJSON. What it answers is what
// the library's own predict does for the same file, within the rounding of
// float32; what it cannot answer is refused with [ErrUnsupported] and a name.
//
// A file is parsed into trees, which are laid out for a walk without branches:
// siblings lie side by side, so that a step is left + (value > threshold), and
// leaves lead to themselves, so that every walk of a tree takes as many steps.
// Eight rows walk at a time. Whatever libraries know besides comparing, missing
// values, zeros that are missing, categories, is turned into the value that is
// compared, once a row instead of once a node.
package trees
