package checkpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeftovers(t *testing.T) {
	alone := Checkpoint{Offset: 5, Epoch: 2, Marks: Marks{Open: true, Alone: true, Crowd: 2, Suspect: 5, Until: 9}}
	worse, moved, ended := alone, alone, alone
	worse.Solo, moved.Offset, ended.Open = 1, 6, false
	passed := Checkpoint{Offset: 64, Marks: Marks{Open: true, Crowd: 1, Suspect: 3, Until: 63}, Done: Set{{First: 70, Last: 71}}}
	for _, tt := range []struct {
		name        string
		left, found Checkpoint
		want        bool
	}{
		{"as it was left", alone, alone, true},
		{"as it was left, as far as the text says it", passed, passed, true},
		{"another ended at it", alone, worse, false},
		{"another moved it on", alone, moved, false},
		{"another ended cleanly", alone, ended, false},
		{"it was left clean, and another began", ended, alone, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp, ok := Decode(tt.found.Encode(Max), tt.found.Offset, tt.found.Epoch)
			require.True(t, ok)
			var o Leftovers
			require.False(t, o.Own("in", 0, cp))
			o.Leave("in", 0, tt.left)
			require.False(t, o.Own("in", 1, cp))
			require.False(t, o.Own("other", 0, cp))
			require.Equal(t, tt.want, o.Own("in", 0, cp))
			require.False(t, o.Own("in", 0, cp), "once")
		})
	}
}
