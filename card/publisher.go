package card

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model"
)

// PublisherDeps is what a publisher works with.
type PublisherDeps struct {
	Topic  string // "" is none: nothing is written
	Worker string // this host's name
	Log    *slog.Logger
	Opts   []kgo.Opt // how brokers are reached
}

// Publisher writes the cards of one worker. It is safe for concurrent use.
type Publisher struct {
	PublisherDeps
	changed chan struct{} // capacity 1

	mu    sync.Mutex
	cards map[string]told // by key; under mu
}

// NewPublisher returns a publisher that Run starts.
func NewPublisher(deps PublisherDeps) *Publisher {
	return &Publisher{PublisherDeps: deps, changed: make(chan struct{}, 1), cards: make(map[string]told)}
}

// told is a card and how many serve what it describes: two references may name
// one version. With none it waits in a worker that loads it again when asked.
type told struct {
	Card
	serving int
}

// Swapped takes the snapshot that serves from now on and the one whose place it took,
// which may be nil. Under given, another name that requests may call it by, it has a card
// of its own; "" is none. It does not block.
func (p *Publisher) Swapped(given string, now, before *model.Snapshot) {
	if p.Topic == "" {
		return
	}
	card := Of(now, p.Worker)
	p.mu.Lock()
	for _, name := range names(given, now) {
		card.Name = name
		p.cards[card.key()] = told{card, p.cards[card.key()].serving + 1}
		if before != nil {
			p.end(key(name, before.Version))
		}
		maps.DeleteFunc(p.cards, func(_ string, c told) bool { return c.Name == name && c.serving == 0 })
	}
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Unloaded takes a snapshot that serves no longer and has no heir. Unless it is gone for
// good, its card stays until another version is served by that name.
func (p *Publisher) Unloaded(given string, s *model.Snapshot, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names(given, s) {
		p.end(key(name, s.Version))
		if k := key(name, s.Version); gone && p.cards[k].serving == 0 {
			delete(p.cards, k)
		}
	}
}

// end is called under mu.
func (p *Publisher) end(key string) {
	if c, ok := p.cards[key]; ok {
		c.serving = max(0, c.serving-1)
		p.cards[key] = c
	}
}

// names are what requests may call a snapshot.
func names(given string, s *model.Snapshot) []string {
	if given == "" || given == s.Name {
		return []string{s.Name}
	}
	return []string{s.Name, given}
}

// The pauses between two tries when the cards cannot be written, and how long that may
// last before it is told: at a start topics come one by one.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 10 * time.Second
	patience   = 10 * time.Second
	writeLimit = 10 * time.Second
)

// Run writes the cards when they change and every [Interval], until ctx ends; it returns
// nil. What cannot be written is logged once, and tried again and again.
func (p *Publisher) Run(ctx context.Context) error {
	if p.Topic == "" {
		<-ctx.Done()
		return nil
	}
	cl, err := kgo.NewClient(append(slices.Clip(p.Opts),
		kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(writeLimit), kgo.UnknownTopicRetries(0), kgo.DisableClientMetrics())...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	turn := time.NewTimer(Interval)
	defer turn.Stop()
	said, began, pause := "", time.Now(), firstPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		case <-turn.C:
		}
		err := p.write(ctx, cl)
		switch {
		case err == nil:
			if said != "" {
				p.Log.InfoContext(ctx, "model cards are written again", "topic", p.Topic)
			}
			said, began, pause = "", time.Now().Add(Interval), firstPause
			turn.Reset(Interval)
			continue
		case ctx.Err() != nil:
			return nil
		case err.Error() != said && time.Since(began) >= patience:
			said = err.Error()
			p.Log.WarnContext(ctx, "model cards cannot be written: gateways cannot describe the models", "topic", p.Topic, "err", err)
		}
		turn.Reset(pause)
		pause = min(2*pause, lastPause)
	}
}

// write produces all cards, for they are few.
func (p *Publisher) write(ctx context.Context, cl *kgo.Client) error {
	p.mu.Lock()
	cards := slices.SortedFunc(maps.Values(p.cards), func(a, b told) int { return a.LoadedAt.Compare(b.LoadedAt) })
	p.mu.Unlock()
	var recs []*kgo.Record
	for i := range cards {
		rec, err := cards[i].record(p.Topic)
		if err != nil {
			p.Log.WarnContext(ctx, "a model has no card", "err", err)
			continue
		}
		recs = append(recs, rec)
	}
	if len(recs) == 0 {
		return nil
	}
	return cl.ProduceSync(ctx, recs...).FirstErr()
}
