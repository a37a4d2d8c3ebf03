package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALoopThatStandsStillIsNotLive(t *testing.T) {
	g := &Gateway{}
	g.polled.Store(time.Now().Add(-stuckAfter + time.Second).UnixNano())
	require.NoError(t, g.live())
	g.polled.Store(time.Now().Add(-stuckAfter - time.Second).UnixNano())
	require.ErrorIs(t, g.live(), errStuck)
}
