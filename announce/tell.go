package announce

import (
	"context"
	"time"
)

// A member says every wantAgain periods that it wants a reference, unless
// another has said so since; what nobody has wanted for wantHolds periods is no
// longer asked for.
const (
	wantAgain = 5
	wantHolds = 15
)

func (b *Board) want(ctx context.Context, reference string) {
	if b.writer.Load() == nil {
		return
	}
	now := time.Now()
	b.mu.Lock()
	due := now.Sub(b.wants[reference]) >= wantAgain*b.Poll
	if due {
		b.wants[reference] = now // also when writing fails: it is tried again then
	}
	b.mu.Unlock()
	if !due {
		return
	}
	b.post(ctx, kindWant, reference, note{By: b.Self, At: now})
}

// Withdraw tells the pool to go back from a version. It does not wait. Where
// there is no topic the member goes back alone.
func (b *Board) Withdraw(ctx context.Context, reference string, w Withdrawal) {
	if b.Topic == "" {
		return
	}
	w.By, w.At = b.Self, w.At.Round(0)
	b.mu.Lock()
	b.takes[reference] = &taken{Withdrawal: w} // it holds here before it is heard of
	b.mu.Unlock()
	b.post(ctx, kindWithdrawn, reference, w)
}

// Withdrawn returns what the pool has taken back of a reference, if that is what
// it names: identity tells the version.
func (b *Board) Withdrawn(reference, identity string) (w Withdrawal, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.takes[reference]
	if t == nil || t.void {
		return Withdrawal{}, false
	}
	if t.Identity != identity || !t.Until.IsZero() && !time.Now().Before(t.Until) {
		t.void = true
		return Withdrawal{}, false
	}
	return t.Withdrawal, true
}
