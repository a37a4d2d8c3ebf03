package page

import (
	"cmp"
	"slices"
	"strings"
)

// shares lists counts, the largest first.
func shares[K comparable](counts map[K]int, name func(K) Share) []Share {
	list := make([]Share, 0, len(counts))
	for k, n := range counts {
		s := name(k)
		s.Requests = n
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return list
}
