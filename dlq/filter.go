package dlq

import (
	"slices"
	"strings"
	"time"
)

// Filter picks dead letters; each of its parts that is set has to hold.
type Filter struct {
	Codes     []string  // any of them
	Models    []string  // any of them: a name or name/version that refused, or what the request's header model asked for
	Since     time.Time // not before
	Until     time.Time // before
	Partition int32     // of the dead-letter topic; below 0: any
	Offset    int64     // in that partition; below 0: any
	ID        Position  // of the dead letter or of the request that was refused; no topic: any
}

// Everything picks every dead letter.
func Everything() Filter { return Filter{Partition: -1, Offset: -1} }

func (f Filter) match(l *Letter) bool {
	switch {
	case len(f.Codes) > 0 && !slices.Contains(f.Codes, l.Code):
	case len(f.Models) > 0 && !slices.ContainsFunc(f.Models, l.isAbout):
	case !f.Since.IsZero() && l.Time.Before(f.Since):
	case !f.Until.IsZero() && !l.Time.Before(f.Until):
	case f.Partition >= 0 && l.At.Partition != f.Partition:
	case f.Offset >= 0 && l.At.Offset != f.Offset:
	case f.ID.Topic != "" && l.At != f.ID && l.Request != f.ID:
	default:
		return true
	}
	return false
}

// isAbout says whether the letter has to do with a model.
func (l *Letter) isAbout(name string) bool {
	if name == l.Wanted || name == l.Model || name == l.Model+"/"+l.Version {
		return true
	}
	wanted, _, _ := strings.Cut(l.Wanted, "@")
	wanted, _, _ = strings.Cut(wanted, "/")
	return name == wanted && name != ""
}

// start is the first offset of a partition that can matter, when the filter
// names one.
func (f Filter) start(topic string) (partition int32, offset int64) {
	if f.ID.Topic == topic {
		return f.ID.Partition, f.ID.Offset
	}
	return f.Partition, f.Offset
}
