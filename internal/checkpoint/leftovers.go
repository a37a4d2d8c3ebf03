package checkpoint

import "sync"

// Leftovers are what this process has said of partitions whose end it could not
// say, for it had lost them or the broker was away. When one comes back as it
// was left, no worker has ended: another would have said that it found it so.
// The zero value has none.
type Leftovers struct {
	mu  sync.Mutex
	all map[place]Checkpoint
}

type place struct {
	topic string
	id    int32
}

// Leave notes what this process said last of a partition that it gives up.
func (o *Leftovers) Leave(topic string, id int32, said Checkpoint) {
	if !said.Open {
		return
	}
	said.Suspect, said.Until, said.Done = said.ahead(said.Suspect), said.ahead(said.Until), nil
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[place]Checkpoint)
	}
	o.all[place{topic, id}] = said
}

// Own says that a partition that comes back is as this process left it. It is
// asked once for each lease.
func (o *Leftovers) Own(topic string, id int32, found Checkpoint) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, left := o.all[place{topic, id}]
	delete(o.all, place{topic, id})
	return left && was.Offset == found.Offset && was.Marks == found.Marks
}
