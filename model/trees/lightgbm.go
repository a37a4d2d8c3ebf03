package trees

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/millrace/millrace/model"
)

// OpenLightGBM reads a model file that LightGBM's save_model wrote. Source of
// the format: LightGBM's Tree::ToString and GBDT::SaveModelToString, by what
// they write, and Booster.predict, by what it answers.
func OpenLightGBM(path string) (*Model, error) { return open(path, ParseLightGBM) }

// ParseLightGBM reads a model from the text of its file.
func ParseLightGBM(data []byte) (*Model, error) {
	p := lgbParser{rest: data}
	head, err := p.header()
	if err != nil {
		return nil, err
	}
	all, err := p.trees(head)
	if err != nil {
		return nil, err
	}
	if p.categorical() {
		return nil, unsupported("a model that was trained on pandas' categories: LightGBM takes them from data frames of that type alone, which no request has")
	}
	f := &forest[int64, float64]{
		features: head.features, groups: head.perIteration, base: make([]float64, head.perIteration),
		top: math.MaxInt64, key: upTo, fill: fill64,
	}
	if err := f.lay(all); err != nil {
		return nil, err
	}
	out, err := head.answer(len(all) / head.perIteration)
	if err != nil {
		return nil, err
	}
	out.takes = model.Matrix{Filled: true, Texts: true, Single: true}
	m := f.model(model.Float64, out)
	m.about = About{Library: "LightGBM", Version: head.version, Booster: p.booster(), Objective: head.objective, Trees: len(all), Features: head.names}
	return m, nil
}

// lgbParser goes through the lines of a file.
type lgbParser struct {
	rest []byte
	ends bool // the file's last line had its end
}

// line returns the next line as a key and a value; a line without "=" is a key
// alone. It reports false at the end.
func (p *lgbParser) line() (key, value string, ok bool) {
	if len(p.rest) == 0 {
		return "", "", false
	}
	var line []byte
	line, p.rest, p.ends = bytes.Cut(p.rest, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	k, v, _ := bytes.Cut(line, []byte("="))
	return string(k), string(v), true
}

// lgbHeader is what stands before the trees.
type lgbHeader struct {
	version      string
	classes      int
	perIteration int // trees an iteration, which is how many sums a row has
	features     int
	names        []string
	objective    string
	average      bool // random forest
	trees        int  // by their sizes, -1 when none are given
}

func (p *lgbParser) header() (*lgbHeader, error) {
	if k, _, _ := p.line(); k != "tree" {
		return nil, errors.New("not a LightGBM model: the first line is not \"tree\"")
	}
	h := &lgbHeader{classes: 1, perIteration: 1, features: -1, trees: -1}
	var err error
	for err == nil {
		before := p.rest
		k, v, ok := p.line()
		if !ok {
			return nil, errors.New("the file ends within the header")
		}
		if k == "Tree" || k == "end of trees" {
			p.rest = before
			break
		}
		switch k {
		case "version":
			h.version = v
		case "num_class":
			h.classes, err = count(k, v, 1, maxGroups)
		case "num_tree_per_iteration":
			h.perIteration, err = count(k, v, 1, maxGroups)
		case "max_feature_idx":
			h.features, err = count(k, v, 0, maxFeatures-1)
			h.features++
		case "objective":
			h.objective = v
		case "average_output":
			h.average = true
		case "feature_names":
			h.names = strings.Fields(v)
		case "tree_sizes":
			h.trees = len(strings.Fields(v))
		}
	}
	switch {
	case err != nil:
		return nil, err
	case h.version != "v3" && h.version != "v4":
		return nil, unsupported("version %q of LightGBM's format: v3 and v4 are read", clip(h.version))
	case h.features < 0:
		return nil, errors.New("max_feature_idx is missing")
	}
	return h, nil
}

// count reads a number of things.
func count(name, text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s: %q is no number from %d to %d", name, clip(text), least, most)
	}
	return n, nil
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func (p *lgbParser) trees(h *lgbHeader) ([]*tree, error) {
	var all []*tree
	k, _, ok := p.line()
	for ; ok && k != "end of trees"; k, _, ok = p.line() {
		if k == "" {
			continue
		}
		if k != "Tree" {
			return nil, fmt.Errorf("%q, where a tree should begin", clip(k))
		}
		t, err := p.tree()
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", len(all), err)
		}
		t.group = len(all) % h.perIteration
		all = append(all, t)
	}
	switch {
	case !ok:
		return nil, errors.New("the file ends before its trees do: it was cut off")
	case h.trees >= 0 && h.trees != len(all):
		return nil, fmt.Errorf("%d trees, where the header has the sizes of %d", len(all), h.trees)
	case len(all)%h.perIteration != 0:
		return nil, fmt.Errorf("%d trees do not make iterations of %d", len(all), h.perIteration)
	}
	return all, nil
}

// booster is what the parameters at the end say, "gbdt" when they do not.
func (p *lgbParser) booster() string {
	if _, rest, ok := bytes.Cut(p.rest, []byte("\n[boosting: ")); ok {
		if name, _, ok := bytes.Cut(rest, []byte("]")); ok {
			return clip(string(name))
		}
	}
	return "gbdt"
}

// categorical says whether the last line names categories of pandas' columns.
func (p *lgbParser) categorical() bool {
	i := bytes.LastIndex(p.rest, []byte("\npandas_categorical:"))
	if i < 0 {
		return false
	}
	list := bytes.TrimSpace(p.rest[i+len("\npandas_categorical:"):])
	return !bytes.Equal(list, []byte("null")) && !bytes.Equal(list, []byte("[]"))
}
