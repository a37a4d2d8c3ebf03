package card

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

// What a list answers when it has no card.
var (
	ErrNone    = errors.New("no worker serves such a model")
	ErrUnknown = errors.New("what the workers serve is not known")
)

// most bounds the cards that are kept; the oldest go first.
const most = 4096

// ListDeps is what a list works with.
type ListDeps struct {
	Topic string // "" is none: nothing is ever known
	Log   *slog.Logger
	Opts  []kgo.Opt        // how brokers are reached
	Known prometheus.Gauge // cards that are not too old
}

// List holds what workers serve. It is safe for concurrent use.
type List struct {
	ListDeps

	mu    sync.Mutex
	cards map[string]Card // by key; under mu
	read  bool            // the topic was read to its end once; under mu
	cause error           // why it cannot be read; under mu
}

// NewList returns an empty list, which Run fills.
func NewList(deps ListDeps) *List {
	l := &List{ListDeps: deps, cards: make(map[string]Card), cause: errors.New("the topic of model cards is being read")}
	if deps.Topic == "" {
		l.cause = errors.New("MILLRACE_TOPIC_CARDS is none")
	}
	return l
}

// Find returns the card of a model: of the version, or of the one whose card is the
// newest when version is "". versions are all that are served, in no certain order. The
// error is [ErrNone], or [ErrUnknown] with the reason.
func (l *List) Find(name, version string) (c Card, versions []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(time.Now())
	for _, one := range l.cards {
		if one.Name != name {
			continue
		}
		versions = append(versions, one.Version)
		fits := version == one.Version || version == "" && (c.Name == "" || one.Written.After(c.Written))
		if fits {
			c = one
		}
	}
	slices.Sort(versions)
	switch {
	case c.Name != "":
		return c, versions, nil
	case !l.read:
		return c, nil, fmt.Errorf("%w: %w", ErrUnknown, l.cause)
	}
	return c, versions, ErrNone
}

// All returns every card, by name and then version.
func (l *List) All() []Card {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(time.Now())
	all := make([]Card, 0, len(l.cards))
	for _, c := range l.cards {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Card) int {
		return cmpFirst(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return all
}

func cmpFirst(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// Err says why nothing is known; nil when the topic was read.
func (l *List) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnknown, l.cause)
}

// Run reads the topic until ctx ends, and returns nil. A topic that is missing or cannot
// be read is looked for again and again.
func (l *List) Run(ctx context.Context) error {
	if l.Topic == "" {
		<-ctx.Done()
		return nil
	}
	topic := kafka.SideTopic{Name: l.Topic, Patience: patience, Log: l.Log, Meanwhile: "models are not described"}
	topic.Read(ctx, func(ctx context.Context) (bool, error) {
		worked, err := l.follow(ctx)
		l.failed(err)
		return worked, err
	})
	return nil
}

// turn is how often old cards are forgotten, when none comes.
const turn = 10 * time.Second

// follow reads until something fails, and says whether it read to the end.
func (l *List) follow(ctx context.Context) (worked bool, err error) {
	cl, err := kgo.NewClient(append(slices.Clip(l.Opts),
		kgo.ConsumeTopics(l.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(4<<20), kgo.DisableClientMetrics())...)
	if err != nil {
		return false, fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	left, err := unread(ctx, kadm.NewClient(cl), l.Topic)
	for err == nil {
		if len(left) == 0 && !worked {
			worked = true
			l.mu.Lock()
			l.read = true
			l.mu.Unlock()
		}
		some, cancel := context.WithTimeout(ctx, turn)
		fetches := cl.PollFetches(some)
		cancel()
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			l.take(r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
		l.age(now)
		if err = fetches.Err(); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = nil
			clear(left) // of a compacted topic the end may be gone
		}
	}
	return worked, err
}

// unread returns the end of each partition that holds something.
func unread(ctx context.Context, adm *kadm.Client, topic string) (map[int32]int64, error) {
	if err := kafka.Exists(ctx, adm, topic); err != nil {
		return nil, err
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(topic, end.Partition); ok && end.Offset > start.Offset {
			left[end.Partition] = end.Offset
		}
	})
	return left, nil
}

func (l *List) failed(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cause = err
}

// take reads a record. One that is no card is left: a newer worker may write others.
func (l *List) take(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Value == nil {
		delete(l.cards, string(r.Key))
		return
	}
	var c Card
	if err := json.Unmarshal(r.Value, &c); err != nil || c.Name == "" || string(r.Key) != c.key() {
		return
	}
	c.Written = r.Timestamp
	l.cards[c.key()] = c
}

func (l *List) age(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(now)
}

// forget drops what is too old, and the oldest while there is too much; mu is held.
func (l *List) forget(now time.Time) {
	for k, c := range l.cards {
		if now.Sub(c.Written) > MaxAge {
			delete(l.cards, k)
		}
	}
	for len(l.cards) > most {
		oldest := ""
		for k, c := range l.cards {
			if oldest == "" || c.Written.Before(l.cards[oldest].Written) {
				oldest = k
			}
		}
		delete(l.cards, oldest)
	}
	if l.Known != nil {
		l.Known.Set(float64(len(l.cards)))
	}
}
