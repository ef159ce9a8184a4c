/*
 * endpoint_test.c - URLs: what is taken and how it is spelled, what is refused and where.
 *
 * In the tables of errors a '^' stands before the byte that the reason must point at; it is taken
 * out before parsing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"
#include "lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define L OUTLET_TO_LISTEN
#define C OUTLET_TO_CONNECT

#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X100 X50 X50

/* What is taken, and its canonical text. */
static const struct {
    enum outlet_role role;
    const char *url;
    const char *canonical;
} good[] = {
    {L, "tcp://127.0.0.1:9000", "tcp://127.0.0.1:9000"},
    {L, "TCP://127.0.0.1:9000/", "tcp://127.0.0.1:9000"},
    {L, "127.0.0.1:9000", "tcp://127.0.0.1:9000"},
    {L, ":9000", "tcp://localhost:9000"},
    {L, "tcp://:9000", "tcp://localhost:9000"},
    {C, "tcp://:9000", "tcp://localhost:9000"},
    {C, "LocalHost:9000", "tcp://localhost:9000"},
    {C, "localhost.:9000", "tcp://localhost:9000"},
    {L, "*:0", "tcp://*:0"},
    {L, "tcp://*:9000", "tcp://*:9000"},
    {L, "udp://*:9000", "udp://*:9000"},
    {L, "tcp://0.0.0.0:00080", "tcp://0.0.0.0:80"},
    {C, "Example.COM:65535", "tcp://example.com:65535"},
    {C, "tcp://ex%41mple.com:1", "tcp://example.com:1"},
    {C, "tcp://a_b-c.d.:1", "tcp://a_b-c.d.:1"},
    {C, "printer:9100", "tcp://printer:9100"},
    {C, "[::1]:80", "tcp://[::1]:80"},
    {C, "tcp://[FE80:0::1%1]:80", "tcp://[fe80::1%25lo]:80"},
    {C, "tcp://[fe80::1%251]:80", "tcp://[fe80::1%25lo]:80"},
    {C, "tcp://[fe80::1%25lo]:80", "tcp://[fe80::1%25lo]:80"},
    {C, "tcp://[fe80::1%lo]:80", "tcp://[fe80::1%25lo]:80"},
    {C, "tcp://[fe80::1%25]:80", "tcp://[fe80::1%2525]:80"},
    {C, "tcp://[ff02::1]:80", "tcp://[ff02::1]:80"},
    {C, "tcp://h:1#", "tcp://h:1"},
    {C, "tcp://h:1?", "tcp://h:1"},
    {C, "tcp://h:1?#", "tcp://h:1"},
    {C, "tcp://h:1?max=64K#frame=line", "tcp://h:1#frame=line,max=64K"},
    {C, "tcp://h:1#max=65536&frame=line", "tcp://h:1#frame=line,max=64K"},
    {C, "tcp://h:1?frame=delim:?", "tcp://h:1#frame=delim:?"},
    {C, "tcp://h:1#frame=len:2le@1+3/6", "tcp://h:1#frame=len:2le@1+3/6"},
    {C, "tcp://h:1#frame=delim:%0D%0A,max=%31%32", "tcp://h:1#frame=delim:%0D%0A,max=12"},
    {C, "tcp://h:1#frame=delim:%00", "tcp://h:1#frame=delim:%00"},
    {C, "tcp://h:1#frame=a=b", "tcp://h:1#frame=a=b"},
    {C, "tcp://h:1#frame=none", "tcp://h:1"},
    {C, "tcp://h:1#frame=off", "tcp://h:1"},
    {C, "tcp://h:1#half_open", "tcp://h:1#half_open=on"},
    {C, "tcp://h:1#half_open=off,nodelay=on", "tcp://h:1"},
    {C, "tcp://h:1#nodelay=off", "tcp://h:1#nodelay=off"},
    {C, "tcp://h:1#nodelay=1", "tcp://h:1"},
    {C, "tcp://h:1#idle_ms=5s", "tcp://h:1#idle_ms=5000"},
    {C, "tcp://h:1#idle_ms=5m,connect_ms=7ms,stall_ms=8",
     "tcp://h:1#connect_ms=7,idle_ms=300000,stall_ms=8"},
    {L, "tcp://h:1#idle_ms=5m", "tcp://h:1"},
    {L, "tcp://h:1#idle_ms=0", "tcp://h:1"},
    {L, "tcp://h:1#idle_ms=off", "tcp://h:1#idle_ms=off"},
    {C, "tcp://h:1#idle_ms=off", "tcp://h:1"},
    {L, "udp://h:1#idle_ms=60s,conns=65536,max=65507", "udp://h:1"},
    {L, "udp://h:1#max=off", "udp://h:1"},
    {L, "udp://h:1#full=drop_old", "udp://h:1#full=drop_old"},
    {L, "tcp://h:1#full=drop_new,frame=line", "tcp://h:1#frame=line,full=drop_new"},
    {L, "tcp://h:1#full=close", "tcp://h:1#full=close"},
    {L, "tcp://h:1#full=refuse,backlog=4096", "tcp://h:1"},
    {L, "tcp://h:1#conns=off,conns_per_address=9,backlog=1",
     "tcp://h:1#backlog=1,conns=off,conns_per_address=9"},
    {L, "tcp://h:1#accepts_per_second=off", "tcp://h:1"},
    {L, "unix:a#mode=600,accepts_per_second=1000000",
     "unix:a#accepts_per_second=1000000,mode=0600"},
    {L, "udp://h:1#accepts_per_second=1,conns=1", "udp://h:1#conns=1,accepts_per_second=1"},
    {L, "tcp://h:1#allow=10.0.0.0/8&allow=192.168.1.7",
     "tcp://h:1#allow=10.0.0.0/8,allow=192.168.1.7"},
    {L, "tcp://h:1?deny=10.0.0.1/32,conns=2#allow=0:0::/64,deny=::ffff:1.2.3.0%2F120",
     "tcp://h:1#conns=2,allow=::/64,deny=10.0.0.1,deny=1.2.3.0/24"},
    {C, "tcp://h:1#high=1g", "tcp://h:1#high=1G,cap=1G"},
    {C, "tcp://h:1#cap=10k", "tcp://h:1#high=10K,low=10K,cap=10K"},
    {C, "tcp://h:1#low=1M", "tcp://h:1#high=1M,low=1M"},
    {C, "tcp://h:1#high=off,cap=off", "tcp://h:1#high=off,cap=off"},
    {C, "tcp://h:1#keepalive_s=1m,keepalive_interval_s=5s,keepalive_probes=3",
     "tcp://h:1#keepalive_s=60,keepalive_interval_s=5,keepalive_probes=3"},
    {L, "tcp://h:1#keepalive_s=off,user_timeout_ms=off,reuse=off", "tcp://h:1"},
    {L, "tcp://h:1#user_timeout_ms=5s,reuse", "tcp://h:1#reuse=on,user_timeout_ms=5000"},
    {L, "tcp://h:1#dscp=EF", "tcp://h:1#dscp=46"},
    {L, "tcp://h:1#dscp=af11", "tcp://h:1#dscp=10"},
    {L, "udp://h:1#dscp=af43", "udp://h:1#dscp=38"},
    {L, "udp://h:1#dscp=cs7", "udp://h:1#dscp=56"},
    {L, "udp://h:1#dscp=cs0", "udp://h:1"},
    {C, "udp://h:1#dscp=va", "udp://h:1#dscp=44"},
    {C, "udp://h:1#dscp=le", "udp://h:1#dscp=1"},
    {C, "udp://h:1#dscp=63", "udp://h:1#dscp=63"},
    {L, "tcp://h:1#device=lo", "tcp://h:1#device=lo"},
    {C, "tcp://h:1#local=127.0.0.1:80", "tcp://h:1#local=127.0.0.1:80"},
    {C, "tcp://h:1#local=:80", "tcp://h:1#local=:80"},
    {C, "tcp://h:1#local=::1", "tcp://h:1#local=::1"},
    {C, "tcp://h:1#local=[::1]", "tcp://h:1#local=[::1]"},
    {C, "tcp://[::1]:1#local=[fe80::1%25lo]:0", "tcp://[::1]:1#local=[fe80::1%25lo]:0"},
    {L, "udp://239.1.2.3:5000", "udp://239.1.2.3:5000"},
    {C, "udp://239.1.2.3:5000#ttl=1,loop=on,broadcast=off", "udp://239.1.2.3:5000"},
    {C, "udp://239.1.2.3:5000#loop=off,ttl=32,interface=lo",
     "udp://239.1.2.3:5000#interface=lo,ttl=32,loop=off"},
    {L, "udp://239.1.2.3:5000#interface=127.0.0.1", "udp://239.1.2.3:5000#interface=127.0.0.1"},
    {L, "udp://[ff02::1]:5#interface=lo", "udp://[ff02::1]:5#interface=lo"},
    {L, "udp://232.1.2.3:5#source=192.0.2.7,interface=lo",
     "udp://232.1.2.3:5#interface=lo,source=192.0.2.7"},
    {L, "udp://[ff3e::8000:1]:5#source=2001:DB8::7", "udp://[ff3e::8000:1]:5#source=2001:DB8::7"},
    {L, "udp://[ff32::8000:1]:5#source=fe80::1%251", "udp://[ff32::8000:1]:5#source=fe80::1%251"},
    {L, "udp://[ff02::1%lo]:5#interface=1", "udp://[ff02::1%25lo]:5#interface=1"},
    {C, "udp://[ff05::1]:5", "udp://[ff05::1]:5"},
    {L, "udp://*:5#broadcast,ttl=9", "udp://*:5#ttl=9,broadcast=on"},
    {C, "udp://255.255.255.255:5#broadcast", "udp://255.255.255.255:5#broadcast=on"},
    {C, "udp://255.255.255.255:5#broadcast,interface=lo",
     "udp://255.255.255.255:5#interface=lo,broadcast=on"},
    {L, "unix:///run/a.sock", "unix:///run/a.sock"},
    {L, "unix:/run/a.sock", "unix:///run/a.sock"},
    {L, "UNIX:%2Frun/a.sock", "unix:///run/a.sock"},
    {L, "unix:a.sock", "unix:a.sock"},
    {L, "unix:%40a", "unix:%40a"},
    {L, "unix:@a", "unix:@a"},
    {L, "unix:@a%01/%40%3F%23b%20", "unix:@a%01/@%3F%23b%20"},
    {L, "unix:my dir/a+b", "unix:my%20dir/a+b"},
    {L, "unix:////x", "unix:////x"},
    {L, "unix:///run/a.sock?mode=660#frame=line", "unix:///run/a.sock#frame=line,mode=0660"},
    {L, "unix:a%3Fb%23c", "unix:a%3Fb%23c"},
    {C, "pair:", "pair:"},
    {C, "pair:one%2Fname", "pair:one%2Fname"},
    {L, "pair:#frame=line", "pair:#frame=line"},
    {L, "unix-seqpacket:/run/a.sock#mode=600", "unix-seqpacket:///run/a.sock#mode=0600"},
    {C, "Unix-SeqPacket:@a#half_open,max=256K", "unix-seqpacket:@a#half_open=on"},
    {C, "unix-seqpacket:a#max=off,full=drop_old", "unix-seqpacket:a#full=drop_old"},
    {L, "unix-dgram:/run/a#mode=600,conns=65536,idle_ms=60s", "unix-dgram:///run/a#mode=0600"},
    {C, "unix-dgram:@a#max=256K", "unix-dgram:@a"},
    {L, "unix:a#fds=8,mode=600", "unix:a#mode=0600,fds=8"},
    {C, "unix-seqpacket:a#fds=64", "unix-seqpacket:a#fds=64"},
    {C, "unix:a#fds=off", "unix:a"},
    {L, "fd:3", "fd:3"},
    {C, "FD:0007#frame=line", "fd:7#frame=line"},
    {C, "fd:2147483647", "fd:2147483647"},
    {L, "fd:SystemD", "fd:systemd"},
    {L, "fd:systemd/web?conns=5", "fd:systemd/web#conns=5"},
    {L, "fd:systemd/a%2Fb.socket", "fd:systemd/a%2Fb.socket"},
    {L, "fd:3#full=drop_old", "fd:3#full=drop_old"}, /* it may have borders */
};

/* What is refused: the byte, the key, and a piece of the sentence. */
static const struct {
    enum outlet_role role;
    const char *url;
    outlet_err code;
    const char *key;
    const char *says;
} bad[] = {
    {L, "^", OUTLET_EINVAL, "", "empty"},
    {L, "tcp://h:1^\n", OUTLET_EINVAL, "", "%0A"},
    {L, "^\x7f", OUTLET_EINVAL, "", "control character"},

    /* schemes */
    {L, "^foo://x", OUTLET_EINVAL, "", "unknown scheme `foo`; this version has tcp"},
    {L, "^tpc://x", OUTLET_EINVAL, "", "unknown scheme `tpc`; did you mean `tcp`?"},
    {L, "^UNX:///x", OUTLET_EINVAL, "", "did you mean `unix`?"},
    {L, "^tls://h:1", OUTLET_ENOTSUP, "", "scheme `tls` is not built into this version"},
    {L, "^kcp://[", OUTLET_ENOTSUP, "", "not built"},
    {L, "^ws://u:p@h/?q#x", OUTLET_ENOTSUP, "", "not built"},
    {L, "^WSS://h", OUTLET_ENOTSUP, "", "`wss` is not built"},
    {L, "^ws+unix:///run/a.sock:/p", OUTLET_ENOTSUP, "", "not built"},
    {L, "^wss+unix:///run/a.sock:/p", OUTLET_ENOTSUP, "", "not built"},
    {L, "^sio://h", OUTLET_ENOTSUP, "", "not built"},
    {L, "^sios://h", OUTLET_ENOTSUP, "", "not built"},
    {L, "^http://h", OUTLET_ENOTSUP, "", "not built"},
    {L, "^https://h", OUTLET_ENOTSUP, "", "not built"},
    {L, "^://h:1", OUTLET_EINVAL, "", "no scheme name"},

    /* descriptors */
    {L, "fd:^", OUTLET_EINVAL, "", "a number or `systemd`"},
    {L, "fd:^3x", OUTLET_EINVAL, "", "a number or `systemd`"},
    {L, "fd:^-1", OUTLET_EINVAL, "", "a number or `systemd`"},
    {L, "fd:^2147483648", OUTLET_EINVAL, "", "no descriptor has a number above"},
    {L, "fd:^systemdx", OUTLET_EINVAL, "", "a number or `systemd`"},
    {L, "fd:systemd/^", OUTLET_EINVAL, "", "the name is missing"},
    {L, "fd:systemd/a^%00", OUTLET_EINVAL, "", "%00"},
    {L, "fd:^//3", OUTLET_EINVAL, "", "fd has no host"},
    {L, "unix-seqpacket:^", OUTLET_EINVAL, "", "write unix-seqpacket:///run/a.sock"},
    {L, "unix-seqpacket://^h/x", OUTLET_EINVAL, "", "unix-seqpacket has no host"},
    {L, "unix-seqpacket:a#^frame=line", OUTLET_EINVAL, "frame", "keeps its own message borders"},
    {L, "unix-seqpacket:a#max=^262145", OUTLET_EINVAL, "max", "at most 262144 bytes"},
    {L, "unix-dgram:a#^half_open", OUTLET_EINVAL, "half_open", "no meaning with unix-dgram"},
    {L, "unix-dgram:a#^fds=1", OUTLET_EINVAL, "fds", "no meaning with unix-dgram"},
    {L, "tcp://h:1#^fds=1", OUTLET_EINVAL, "fds", "no meaning with tcp"},
    {L, "unix:a#fds=^65", OUTLET_EINVAL, "fds", "takes 1 to 64, or off"},
    {L, "fd:3#^mode=0600", OUTLET_EINVAL, "mode", "no meaning with fd"},
    {L, "fd:3#^backlog=5", OUTLET_EINVAL, "backlog", "no meaning with fd"},
    {C, "fd:3#^connect_ms=5", OUTLET_EINVAL, "connect_ms", "no meaning with fd"},
    {L, "^1x://h:1", OUTLET_EINVAL, "", "no scheme name"},
    {L, "tcp:^9000", OUTLET_EINVAL, "", "after `tcp:` stands `//`"},
    {L, "udp:^/h:1", OUTLET_EINVAL, "", "after `udp:` stands `//`"},

    /* users and secrets */
    {C, "tcp://^u@h:1", OUTLET_EINVAL, "", "no user name and no secret"},
    {C, "^u:p@h:1", OUTLET_EINVAL, "", "no user name and no secret"},
    {C, "udp://^u:p/q@h:1", OUTLET_EINVAL, "", "no user name and no secret"},
    {C, "unix://^u:p@h/x", OUTLET_EINVAL, "", "unix has no host"},
    {C, "tcp://u:p#q^@h:1", OUTLET_EINVAL, "", "must be written as %23"},
    {C, "tcp://u:p?q^@h:1", OUTLET_EINVAL, "", "must be written as %23"},
    {C, "tcp://u:1#max=q^@h:1", OUTLET_EINVAL, "", "must be written as %23"},

    /* hosts */
    {C, "tcp://^*:1", OUTLET_EINVAL, "", "every interface"},
    {L, "tcp://^a b:1", OUTLET_EINVAL, "", "no name has"},
    {L, "tcp://^\xc3\xa9:1", OUTLET_EINVAL, "", "xn--"},
    {L, "tcp://^%2A:1", OUTLET_EINVAL, "", "no name has"},
    {L, "tcp://a^%00:1", OUTLET_EINVAL, "", "%00 is not allowed in the host"},
    {L, "tcp://a^%0a:1", OUTLET_EINVAL, "", "control character is not allowed in the host"},
    {L, "tcp://a^%4:1", OUTLET_EINVAL, "", "two hexadecimal digits"},
    {L, "tcp://a^%4g:1", OUTLET_EINVAL, "", "two hexadecimal digits"},
    {L, "tcp://a^%", OUTLET_EINVAL, "", "two hexadecimal digits"},
    {L, "tcp://^a..b:1", OUTLET_EINVAL, "", "between the dots"},
    {L, "tcp://^.b:1", OUTLET_EINVAL, "", "between the dots"},
    {L, "tcp://^1.2.3:1", OUTLET_EINVAL, "", "no IPv4 address"},
    {L, "tcp://^1.2.3.256:1", OUTLET_EINVAL, "", "no IPv4 address"},
    {L, "tcp://^01.2.3.4:1", OUTLET_EINVAL, "", "no IPv4 address"},
    {L, "tcp://^0x7f000001:1", OUTLET_EINVAL, "", "no IPv4 address"},
    {L, "^9000", OUTLET_EINVAL, "", "write :9000"},
    {L, "tcp://^::1:80", OUTLET_EINVAL, "", "stands in brackets"},
    {L, "tcp://^[::1:80", OUTLET_EINVAL, "", "not closed"},
    {L, "tcp://[::1]^80", OUTLET_EINVAL, "", "only a port may follow"},
    {L, "tcp://[^::g]:80", OUTLET_EINVAL, "", "no IPv6 address"},
    {L, "tcp://[^1.2.3.4]:80", OUTLET_EINVAL, "", "no IPv6 address"},
    {L, "tcp://[^]:80", OUTLET_EINVAL, "", "no IPv6 address"},
    {L, "tcp://[^%1]:80", OUTLET_EINVAL, "", "no IPv6 address"},
    {L, "tcp://[^fe80::1]:80", OUTLET_EINVAL, "", "needs its interface"},
    {L, "tcp://[fe80::1^%no-such-if]:80", OUTLET_EINVAL, "", "no interface"},
    {L, "tcp://[fe80::1^%]:80", OUTLET_EINVAL, "", "no interface"},
    {L, "tcp://[fe80::1^%0]:80", OUTLET_EINVAL, "", "no interface"},

    /* ports */
    {C, "tcp://h^", OUTLET_EINVAL, "", "the port is missing"},
    {L, "tcp://h^", OUTLET_EINVAL, "", "the port is missing"},
    {L, "tcp://h:^", OUTLET_EINVAL, "", "the port is missing"},
    {L, "tcp://^", OUTLET_EINVAL, "", "the port is missing"},
    {L, "tcp://h^/", OUTLET_EINVAL, "", "the port is missing"},
    {L, "h^#max=1", OUTLET_EINVAL, "", "the port is missing"},
    {L, "[::1]^", OUTLET_EINVAL, "", "the port is missing"},
    {L, "tcp://h:^99999", OUTLET_EINVAL, "", "the port 99999 is above 65535"},
    {L, "tcp://h:^65536", OUTLET_EINVAL, "", "above 65535"},
    {L, "tcp://h:^99999999999999999999", OUTLET_EINVAL, "", "above 65535"},
    {L, "tcp://h:^-1", OUTLET_EINVAL, "", "neither a port nor a known service"},
    {L, "tcp://h:^80x", OUTLET_EINVAL, "", "`80x` is neither"},
    {L, "tcp://h:^no-such-service", OUTLET_EINVAL, "", "neither a port"},
    {L, "tcp://h:^" X100, OUTLET_EINVAL, "", "neither a port"},
    {C, "tcp://h:^0", OUTLET_EINVAL, "", "for listening only"},
    {L, "tcp://h:1^/x", OUTLET_EINVAL, "", "tcp has no path"},

    /* unix and pair */
    {L, "unix:^", OUTLET_EINVAL, "", "the path is missing"},
    {L, "unix://^", OUTLET_EINVAL, "", "the path is missing"},
    {L, "unix:@^", OUTLET_EINVAL, "", "the abstract name is missing"},
    {L, "unix://^run/a.sock", OUTLET_EINVAL, "", "unix has no host"},
    {L, "unix:a^%00", OUTLET_EINVAL, "", "%00 is not allowed in the path"},
    {L, "unix:a^%0a", OUTLET_EINVAL, "", "control character is not allowed in the path"},
    {L, "unix:@a^%00", OUTLET_EINVAL, "", "%00 is not allowed in the abstract name"},
    {L, "unix:@a#^mode=0600", OUTLET_EINVAL, "mode", "no meaning for an abstract name"},
    {C, "unix:a#^mode=0600", OUTLET_EINVAL, "mode", "no meaning when connecting"},
    {C, "pair:^//x", OUTLET_EINVAL, "", "pair has no host"},
    {C, "pair:x^%zz", OUTLET_EINVAL, "", "two hexadecimal digits"},

    /* options */
    {L, "tcp://h:1#^idel_ms=1", OUTLET_EINVAL, "idel_ms",
     "unknown option `idel_ms`; did you mean `idle_ms`?"},
    {L, "tcp://h:1#^Max=1", OUTLET_EINVAL, "Max", "did you mean `max`?"},
    {L, "tcp://h:1#^linger=5", OUTLET_EINVAL, "linger", "what does that here is `flush_ms`"},
    {L, "tcp://h:1#^SO_KEEPALIVE", OUTLET_EINVAL, "SO_KEEPALIVE", "here is `keepalive_s`"},
    {L, "tcp://h:1#^reuseport", OUTLET_EINVAL, "reuseport", "here is `reuse`"},
    {L, "tcp://h:1#dscp=^af44", OUTLET_EINVAL, "dscp", "a class such as ef"},
    {L, "tcp://h:1#dscp=^af5", OUTLET_EINVAL, "dscp", "a class such as ef"},
    {L, "tcp://h:1#dscp=^cs8", OUTLET_EINVAL, "dscp", "a class such as ef"},
    {L, "tcp://h:1#dscp=^64", OUTLET_EINVAL, "dscp", "1 to 63"},
    {L, "tcp://h:1#keepalive_s=^500ms", OUTLET_EINVAL, "keepalive_s", "whole seconds"},
    {L, "tcp://h:1#keepalive_s=^32768", OUTLET_EINVAL, "keepalive_s", "1 to 32767, or off"},
    {L, "tcp://h:1#^keepalive_probes=3", OUTLET_EINVAL, "keepalive_probes", "needs `keepalive_s`"},
    {L, "unix:a#^keepalive_s=3", OUTLET_EINVAL, "keepalive_s", "no meaning with unix"},
    {L, "udp://h:1#^user_timeout_ms=3", OUTLET_EINVAL, "user_timeout_ms", "no meaning with udp"},
    {C, "tcp://h:1#^reuse", OUTLET_EINVAL, "reuse", "no meaning when connecting"},
    {L, "tcp://h:1#^local=:5", OUTLET_EINVAL, "local", "no meaning when listening"},
    {C, "tcp://h:1#local=^h", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^:", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^:0", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^:65536", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^1.2.3.4:", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^[1.2.3.4]", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^[::1]5", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://h:1#local=^[::1", OUTLET_EINVAL, "local", "an address of this computer"},
    {C, "tcp://[::1]:1#local=^127.0.0.1", OUTLET_EINVAL, "local", "different families"},
    {L, "tcp://h:1#device=^no-such-dev", OUTLET_EINVAL, "device", "no network device"},
    {L, "tcp://h:1#device=^" X10 X10, OUTLET_EINVAL, "device", "no network device"},
    {L, "tcp://h:1#device=" X50 X10 "xxx^x", OUTLET_EINVAL, "device", "longer"},
    {L, "udp://[^ff02::1]:5", OUTLET_EINVAL, "", "needs its interface"},
    {C, "udp://[^ff01::1]:5", OUTLET_EINVAL, "", "needs its interface"},
    {C, "udp://^255.255.255.255:5", OUTLET_EINVAL, "broadcast", "add broadcast=on"},
    {C, "udp://h:1#^ttl=5", OUTLET_EINVAL, "ttl", "about sending to a group"},
    {C, "udp://1.2.3.4:1#^loop=off", OUTLET_EINVAL, "loop", "about sending to a group"},
    {C, "udp://1.2.3.4:1#^interface=lo", OUTLET_EINVAL, "interface", "or a broadcast address"},
    {C, "udp://1.2.3.4:1#broadcast,^ttl=5", OUTLET_EINVAL, "ttl", "about sending to a group"},
    {L, "udp://*:1#interface=^nosuch", OUTLET_EINVAL, "interface", "no network interface"},
    {L, "udp://*:1#interface=^192.0.2.200", OUTLET_EINVAL, "interface", "no network interface"},
    {L, "udp://[ff02::1%1]:1#interface=^2", OUTLET_EINVAL, "interface", "another one"},
    {L, "udp://*:1#^source=192.0.2.7", OUTLET_EINVAL, "source", "about a group"},
    {L, "udp://h:1#^source=192.0.2.7", OUTLET_EINVAL, "source", "allow=ADDRESS"},
    {C, "udp://232.1.2.3:1#^source=192.0.2.7", OUTLET_EINVAL, "source",
     "no meaning when connecting"},
    {L, "tcp://*:1#^source=192.0.2.7", OUTLET_EINVAL, "source", "no meaning with tcp"},
    {L, "udp://232.1.2.3:1#source=^fe80::7%251", OUTLET_EINVAL, "source", "give an IPv4 address"},
    {L, "udp://[ff3e::1]:1#source=^192.0.2.7", OUTLET_EINVAL, "source", "give an IPv6 address"},
    {L, "udp://232.1.2.3:1#source=^host", OUTLET_EINVAL, "source", "takes the address of the one"},
    {L, "udp://232.1.2.3:1#source=^192.0.2.7:5", OUTLET_EINVAL, "source", "takes the address"},
    {L, "udp://232.1.2.3:1#source=^232.1.2.3", OUTLET_EINVAL, "source", "takes the address"},
    {L, "udp://232.1.2.3:1#source=^0.0.0.0", OUTLET_EINVAL, "source", "takes the address"},
    {L, "udp://[ff32::1%1]:1#source=^fe80::7%252", OUTLET_EINVAL, "source", "another one"},
    {L, "udp://232.1.2.3:1#source=1.2.3.4,^source=1.2.3.5", OUTLET_EINVAL, "source", "twice"},
    {L, "udp://232.1.2.3:1#^ip_add_source_membership=1.2.3.4", OUTLET_EINVAL,
     "ip_add_source_membership", "source"},
    {L, "udp://*:1#ttl=^256", OUTLET_EINVAL, "ttl", "1 to 255"},
    {L, "tcp://*:1#^ttl=5", OUTLET_EINVAL, "ttl", "no meaning with tcp"},
    {L, "tcp://*:1#^broadcast", OUTLET_EINVAL, "broadcast", "no meaning with tcp"},
    {L, "tcp://h:1#^colour=red", OUTLET_EINVAL, "colour", "unknown option `colour`"},
    {L, "tcp://h:1#^" X50, OUTLET_EINVAL, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "unknown option"},
    {L, "tcp://h:1#^user=1", OUTLET_EINVAL, "user", "unknown option"},
    {L, "tcp://h:1#^=1", OUTLET_EINVAL, "", "key=value"},
    {L, "tcp://h:1#max=1,^%6dax=1", OUTLET_EINVAL, "", "key=value"},
    {L, "tcp://h:1#frame=line,^", OUTLET_EINVAL, "", "an option is empty"},
    {L, "tcp://h:1#^,max=1", OUTLET_EINVAL, "", "an option is empty"},
    {L, "tcp://h:1#max=1,^&low=1", OUTLET_EINVAL, "", "an option is empty"},
    {L, "tcp://h:1#max=1,^max=1", OUTLET_EINVAL, "max", "given twice"},
    {L, "tcp://h:1?max=1#^max=1", OUTLET_EINVAL, "max", "given twice"},
    {L, "tcp://h:1#max^", OUTLET_EINVAL, "max", "needs a value"},
    {L, "tcp://h:1#frame^,max=1", OUTLET_EINVAL, "frame", "needs a value"},
    {L, "tcp://h:1#max=^,low=1", OUTLET_EINVAL, "max", "is empty"},
    {L, "tcp://h:1#frame=^", OUTLET_EINVAL, "frame", "is empty"},
    {L, "tcp://h:1#nodelay=^", OUTLET_EINVAL, "nodelay", "is empty"},
    {C, "tcp://h:1#^backlog=1", OUTLET_EINVAL, "backlog",
     "the key `backlog` has no meaning when connecting"},
    {C, "tcp://h:1#^conns=1", OUTLET_EINVAL, "conns", "when connecting"},
    {C, "tcp://h:1#^conns_per_address=1", OUTLET_EINVAL, "conns_per_address", "when connecting"},
    {C, "tcp://h:1#^accepts_per_second=1", OUTLET_EINVAL, "accepts_per_second", "when connecting"},
    {C, "tcp://h:1#^allow=::1", OUTLET_EINVAL, "allow", "no meaning when connecting"},
    {L, "unix:a#^allow=::1", OUTLET_EINVAL, "allow", "no meaning with unix"},
    {L, "unix:a#conns=1,^deny=::1", OUTLET_EINVAL, "deny", "no meaning with unix"},
    {L, "pair:a#^deny=::1", OUTLET_EINVAL, "deny", "no meaning with pair"},
    {L, "pair:a#^accepts_per_second=1", OUTLET_EINVAL, "accepts_per_second", "with pair"},
    {L, "tcp://h:1#^connect_ms=1", OUTLET_EINVAL, "connect_ms", "no meaning when listening"},
    {L, "tcp://h:1#^handshake_ms=1", OUTLET_EINVAL, "handshake_ms", "no meaning with tcp"},
    {L, "tcp://h:1#^mode=0600", OUTLET_EINVAL, "mode", "no meaning with tcp"},
    {L, "unix:a#^nodelay", OUTLET_EINVAL, "nodelay", "no meaning with unix"},
    {L, "unix:a#^conns_per_address=1", OUTLET_EINVAL, "conns_per_address", "with unix"},
    {L, "udp://h:1#^frame=line", OUTLET_EINVAL, "frame", "udp keeps its own message borders"},
    {L, "udp://h:1#^half_open", OUTLET_EINVAL, "half_open", "no meaning with udp"},
    {L, "udp://h:1#^partial_ms=1", OUTLET_EINVAL, "partial_ms", "no meaning with udp"},
    {L, "udp://h:1#^backlog=1", OUTLET_EINVAL, "backlog", "no meaning with udp"},
    {C, "pair:#^connect_ms=1", OUTLET_EINVAL, "connect_ms", "no meaning with pair"},

    /* values */
    {L, "tcp://h:1#max=^x", OUTLET_EINVAL, "max", "a number of bytes such as"},
    {L, "tcp://h:1#max=^64KB", OUTLET_EINVAL, "max", "a number of bytes such as"},
    {L, "tcp://h:1#max=^-1", OUTLET_EINVAL, "max", "a number of bytes such as"},
    {L, "tcp://h:1#max=^+1", OUTLET_EINVAL, "max", "a number of bytes such as"},
    {L, "tcp://h:1#max=^1.5K", OUTLET_EINVAL, "max", "a number of bytes such as"},
    {L, "tcp://h:1#max=^K", OUTLET_EINVAL, "max", "a number of bytes such as"},
    {L, "tcp://h:1#max=^on", OUTLET_EINVAL, "max", "or off"},
    {L, "tcp://h:1#max=1^%", OUTLET_EINVAL, "max", "two hexadecimal digits"},
    {L, "tcp://h:1#max=1^%00", OUTLET_EINVAL, "max", "%00 is not allowed in the value"},
    {L, "tcp://h:1#max=^1025G", OUTLET_EINVAL, "max", "it takes 1 to 1024G, or off"},
    {L, "tcp://h:1#max=^99999999999999999999G", OUTLET_EINVAL, "max", "out of range"},
    {L, "tcp://h:1#max=1^#max=1", OUTLET_EINVAL, "", "a second `#`"},
    {L, "tcp://h:1#idle_ms=^5h", OUTLET_EINVAL, "idle_ms", "a time such as"},
    {L, "tcp://h:1#idle_ms=^525601m", OUTLET_EINVAL, "idle_ms", "1 to 31536000000, or off"},
    {L, "tcp://h:1#backlog=^1K", OUTLET_EINVAL, "backlog", "a whole number"},
    {L, "tcp://h:1#backlog=^off", OUTLET_EINVAL, "backlog", "cannot be off"},
    {L, "tcp://h:1#backlog=^2147483648", OUTLET_EINVAL, "backlog", "1 to 2147483647"},
    {L, "tcp://h:1#low=^off", OUTLET_EINVAL, "low", "cannot be off"},
    {L, "tcp://h:1#nodelay=^0", OUTLET_EINVAL, "nodelay", "takes on or off"},
    {L, "tcp://h:1#accepts_per_second=^1000001", OUTLET_EINVAL, "accepts_per_second",
     "1 to 1000000, or off"},
    {L, "tcp://h:1#accepts_per_second=^2.5", OUTLET_EINVAL, "accepts_per_second", "whole number"},
    {L, "tcp://h:1#allow^", OUTLET_EINVAL, "allow", "needs a value"},
    {L, "tcp://h:1#allow=::1,allow=^", OUTLET_EINVAL, "allow", "is empty"},
    {L, "tcp://h:1#allow=^off", OUTLET_EINVAL, "allow", "`off` is no address"},
    {L, "tcp://h:1#allow=::1,deny=::1,allow=^h", OUTLET_EINVAL, "allow", "`h` is no address"},
    {L, "tcp://h:1#deny=^10.0.0.1%201.1.1.1", OUTLET_EINVAL, "deny", "is no address"},
    {L, "tcp://h:1#allow=10.0.0.0/^33", OUTLET_EINVAL, "allow", "its length, 0 to 32"},
    {L, "tcp://h:1#allow=^10.1.0.0/8", OUTLET_EINVAL, "allow", "write 10.0.0.0/8"},
    {L, "tcp://h:1#deny=fe80::1^%2", OUTLET_EINVAL, "deny", "two hexadecimal digits"},
    {L, "tcp://h:1#nodelay=^yes", OUTLET_EINVAL, "nodelay", "takes on or off"},
    {L, "tcp://h:1#full=^drop", OUTLET_EINVAL, "full", "refuse, drop_new, drop_old or close"},
    {L, "tcp://h:1#full=^off", OUTLET_EINVAL, "full", "cannot be off"},
    {L, "unix:a#mode=^0888", OUTLET_EINVAL, "mode", "permissions in octal"},
    {L, "unix:a#mode=^1000", OUTLET_EINVAL, "mode", "0001 to 0777"},
    {L, "udp://h:1#max=^65508", OUTLET_EINVAL, "max", "a datagram carries at most 65507 bytes"},

    /* between options */
    {L, "tcp://h:1#low=2K,high=^1K", OUTLET_EINVAL, "high", "`low` is above `high`"},
    {L, "tcp://h:1#cap=2K,max=9,high=^3K", OUTLET_EINVAL, "high", "`high` is above `cap`"},
    {L, "tcp://h:1#high=3K&cap=^2K", OUTLET_EINVAL, "cap", "low <= high <= cap"},
    {L, "tcp://h:1#low=3K,high=off,cap=^2K", OUTLET_EINVAL, "cap", "`low` is above `cap`"},
    {L, "tcp://h:1#full=^drop_old", OUTLET_EINVAL, "full", "borders"},
    {L, "tcp://h:1#frame=none,full=^drop_new", OUTLET_EINVAL, "full", "borders"},
    {L, "pair:#full=^drop_new", OUTLET_EINVAL, "full", "borders"},
};

/* `marked` without its '^'; where that stood. */
static int32_t
unmark(const char *marked, char *url, size_t room)
{
    const char *mark = strchr(marked, '^');
    size_t before = mark ? (size_t)(mark - marked) : 0;

    assert_non_null(mark);
    assert_true(strlen(marked) < room);
    memcpy(url, marked, before);
    memcpy(url + before, mark + 1, strlen(mark + 1) + 1);
    return (int32_t)before;
}

static struct ol_endpoint
parse(const char *url, enum outlet_role role)
{
    struct outlet_reason why = OUTLET_REASON;
    struct ol_endpoint e;

    if (ol_endpoint_parse(url, role, NULL, &e, &why) != OUTLET_OK)
        fail_msg("%s: %s", url, why.text);
    return e; /* its options point into what is being copied: ol_endpoint_moved() */
}

/* Options without the pointers into their endpoint. */
static struct outlet_opts
numbers(const struct ol_endpoint *e)
{
    struct outlet_opts o = e->opts;

    o.frame = NULL;
    o.device = NULL;
    o.local = NULL;
    o.interface = NULL;
    o.source = NULL;
    return o;
}

/* All but the pointers into itself and the place in the text. */
static bool
same(struct ol_endpoint a, struct ol_endpoint b)
{
    bool addr = ol_addr_same(&a.addr, &b.addr) && a.addr.port == b.addr.port &&
                ol_addr_same(&a.local, &b.local) && a.local.port == b.local.port &&
                ol_addr_same(&a.source, &b.source) && a.interface == b.interface &&
                a.many == b.many;
    struct outlet_opts x = numbers(&a);
    struct outlet_opts y = numbers(&b);

    return memcmp(a.texts, b.texts, sizeof a.texts) == 0 && addr && a.scheme == b.scheme &&
           a.role == b.role && a.any_host == b.any_host && a.loopback == b.loopback &&
           a.has_literal == b.has_literal && a.port == b.port && a.zone == b.zone &&
           strcmp(a.host, b.host) == 0 && strcmp(a.frame, b.frame) == 0 &&
           memcmp(&x, &y, sizeof x) == 0;
}

static void
what_is_taken_has_one_canonical_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(good); i++) {
        struct ol_endpoint e = parse(good[i].url, good[i].role);
        char text[OL_ENDPOINT_TEXT];
        size_t len;

        ol_endpoint_moved(&e);
        len = ol_endpoint_print(&e, 0, text, sizeof text);
        if (len != strlen(good[i].canonical) || strcmp(text, good[i].canonical) != 0)
            fail_msg("%s gives %s, not %s", good[i].url, text, good[i].canonical);
    }
}

static void
the_canonical_text_parses_back_to_the_same_endpoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(good); i++) {
        if (!same(parse(good[i].url, good[i].role), parse(good[i].canonical, good[i].role)))
            fail_msg("%s and %s differ", good[i].url, good[i].canonical);
    }
}

static void
every_error_names_its_byte_its_key_and_its_cause(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(bad); i++) {
        struct outlet_reason why = OUTLET_REASON;
        char url[256];
        int32_t position = unmark(bad[i].url, url, sizeof url);
        struct ol_endpoint e;
        outlet_err err = ol_endpoint_parse(url, bad[i].role, NULL, &e, &why);

        if (err != bad[i].code || why.code != err || why.position != position ||
            strcmp(why.key, bad[i].key) != 0 || !strstr(why.text, bad[i].says))
            fail_msg("%s: %d at %d, not %d, key `%s`: %s", url, err, why.position, position,
                     why.key, why.text);
    }
}

/* A sentence that was cut would not say what to do next. */
static void
every_sentence_fits_its_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(bad); i++) {
        struct outlet_reason why = OUTLET_REASON;
        char url[256];

        (void)unmark(bad[i].url, url, sizeof url); /* the place has a test of its own */
        if (outlet_url_check(url, bad[i].role, &why) && strlen(why.text) >= sizeof why.text - 1)
            fail_msg("%s: %s", url, why.text);
    }
}

static void
an_error_writes_no_endpoint_and_needs_no_reason(void **state)
{
    struct ol_endpoint e;
    struct ol_endpoint before;

    (void)state;
    memset(&e, 0x5a, sizeof e);
    before = e;
    for (size_t i = 0; i < OL_COUNT(bad); i++) {
        char url[256];

        (void)unmark(bad[i].url, url, sizeof url); /* the place has a test of its own */
        if (ol_endpoint_parse(url, bad[i].role, NULL, &e, NULL) == OUTLET_OK)
            fail_msg("%s", url);
        assert_memory_equal(&e, &before, sizeof e);
    }
}

static void
every_truncation_points_into_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(good); i++) {
        size_t whole = strlen(good[i].url);

        for (size_t len = 0; len < whole; len++) {
            struct outlet_reason why = OUTLET_REASON;
            char *url = test_malloc(len + 1); /* so that a byte read behind it is noticed */
            outlet_err err;

            memcpy(url, good[i].url, len);
            url[len] = '\0';
            err = outlet_url_check(url, good[i].role, &why);
            if (err && (why.position < 0 || (size_t)why.position > len || why.text[0] == '\0'))
                fail_msg("%s: position %d, %s", url, why.position, why.text);
            test_free(url);
        }
    }
}

static void
a_secret_is_never_shown(void **state)
{
    static const char *const urls[] = {
        "tcp://user:hunter2@h:1",
        "user:hunter2@h:1",
        "udp://hunter2@h:1",
        "tcp://user:hunter2#x@h:1",
        "tcp://user:x#hunter2@h:1",
        "tcp://user:x?hunter2@h:1",
        "tcp://user:hunter2?max=x@h:1",
        "tcp://user:hunter2/x@h:1",
        "tcp://user:x/hunter2@h:1",
        "tcp://user:hunter2,x&y#hunter2=z@h:1",
        "unix://user:hunter2@h/x",
        "unix://hunter2@/x",
        "ws://user:hunter2@h/",
        "foo://user:hunter2@h/",
        "user:hunter2://x@h",
        "tcp://hunter2:x@[::1",
        "tcp://user:hunter2#frame=a@b",
        "pair://user:hunter2@h",
        "tcp://user:hunter2@h:99999",
        "tcp://user:hunter2@h:1#hunter2=1",
        "tcp://user:x#hunter2&y@h:1",
        "tcp://user:x#max=hunter2@h:1",
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(urls); i++) {
        struct outlet_reason why = OUTLET_REASON;
        char text[OL_ENDPOINT_TEXT] = "";

        if (outlet_url_check(urls[i], C, &why) == OUTLET_OK)
            fail_msg("%s was taken", urls[i]);
        if (strstr(why.text, "hunter2") || strstr(why.key, "hunter2"))
            fail_msg("%s: %s", urls[i], why.text);
        assert_true(outlet_url_print(urls[i], C, text, sizeof text) < 0);
        assert_string_equal(text, "");
    }
}

static void
repeat(char *text, char c, size_t n)
{
    memset(text, c, n);
    text[n] = '\0';
}

/* `head`, n times 'x', `tail`: is it taken? */
static bool
takes(const char *head, size_t n, const char *tail, struct outlet_reason *why)
{
    static char middle[OL_URL_MAX + 2];
    static char url[2 * OL_URL_MAX];
    struct ol_endpoint e;

    repeat(middle, 'x', n);
    snprintf(url, sizeof url, "%s%s%s", head, middle, tail);
    /* Not outlet_url_check(), which also looks into the framing. */
    return ol_endpoint_parse(url, L, NULL, &e, why) == OUTLET_OK;
}

static void
lengths_are_limited_at_the_very_byte(void **state)
{
    static const struct {
        const char *head;
        const char *tail;
        size_t most;
        int32_t position; /* of the first byte too many, or the part */
    } cases[] = {
        {"unix:/", "", OL_PATH_MAX - 1, 5 + OL_PATH_MAX},
        {"unix:@", "", OL_PATH_MAX, 6 + OL_PATH_MAX},
        {"unix:", "%41", OL_PATH_MAX - 1, 5 + OL_PATH_MAX},
        {"pair:", "", OL_PATH_MAX, 5 + OL_PATH_MAX},
        {"tcp://", ":1", 63, 6},
        {"tcp://h:1#frame=", "", 255, 16 + 255},
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct outlet_reason why = OUTLET_REASON;

        assert_true(takes(cases[i].head, cases[i].most - 1, cases[i].tail, &why));
        assert_true(takes(cases[i].head, cases[i].most, cases[i].tail, &why));
        assert_false(takes(cases[i].head, cases[i].most + 1, cases[i].tail, &why));
        assert_int_equal(why.position, cases[i].position);
    }
}

static void
a_url_of_the_greatest_length_is_read_and_one_byte_more_is_not(void **state)
{
    struct outlet_reason why = OUTLET_REASON;

    (void)state;
    assert_false(takes("pair:", OL_URL_MAX - 5, "", &why));
    assert_non_null(strstr(why.text, "the name of the pair"));
    assert_false(takes("pair:", OL_URL_MAX - 4, "", &why));
    assert_non_null(strstr(why.text, "the URL is longer than 65536 bytes"));
    assert_int_equal(why.position, OL_URL_MAX);
}

static void
a_host_may_have_255_bytes(void **state)
{
    char url[512];
    char host[300];

    (void)state;
    for (size_t n = 254; n <= 256; n++) {
        struct outlet_reason why = OUTLET_REASON;

        repeat(host, 'x', n);
        for (size_t i = 49; i < n - 1; i += 50)
            host[i] = '.';
        snprintf(url, sizeof url, "tcp://%s:1", host);
        assert_int_equal(outlet_url_check(url, C, &why), n > 255 ? OUTLET_EINVAL : OUTLET_OK);
        if (n > 255)
            assert_int_equal(why.position, 6 + 255);
    }
}

static void
numbers_are_limited_at_the_very_number(void **state)
{
    static const struct {
        const char *url;
        long long most;
    } cases[] = {
        {"tcp://h:1#max=%lld", 1LL << 40},
        {"tcp://h:1#idle_ms=%lld", 31536000000},
        {"tcp://h:1#conns=%lld", 2147483647},
        {"udp://h:1#max=%lld", 65507},
        {"tcp://h:%lld", 65535},
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        for (int more = -1; more <= 1; more++) {
            char url[64];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(url, sizeof url, cases[i].url, cases[i].most + more);
#pragma GCC diagnostic pop
            if ((outlet_url_check(url, L, NULL) == OUTLET_OK) != (more <= 0))
                fail_msg("%s", url);
        }
    }
}

static void
the_parts_of_a_place_are_told_apart(void **state)
{
    struct ol_endpoint e = parse("tcp://:9000", L);

    (void)state;
    assert_true(e.loopback && !e.any_host && !e.has_literal);
    assert_string_equal(e.host, "");
    assert_int_equal(e.port, 9000);

    e = parse("*:0", L);
    assert_true(e.any_host && !e.loopback && !e.has_literal);

    e = parse("[fe80::1%1]:7", C);
    assert_true(e.has_literal);
    assert_int_equal(e.zone, 1);
    assert_int_equal(e.addr.zone, 1);
    assert_int_equal(e.addr.port, 7);
    assert_string_equal(e.host, "fe80::1");

    e = parse("Host:7", C);
    assert_false(e.has_literal || e.loopback);
    assert_string_equal(e.host, "host");

    e = parse("unix:@a%01", L);
    assert_true(e.has_literal);
    assert_int_equal(e.addr.kind, OL_ADDR_ABSTRACT);
    assert_int_equal(e.addr.path_len, 2);
    assert_memory_equal(e.addr.path, "a\1", 3);

    e = parse("pair:name", C);
    assert_int_equal(e.addr.kind, OL_ADDR_NONE);
    assert_string_equal(e.addr.path, "name");
}

static void
the_framing_is_kept_as_written_with_its_place(void **state)
{
    struct ol_endpoint e = parse("tcp://h:1#max=9,frame=delim:%0D+%zz", C);

    (void)state;
    assert_string_equal(e.frame, "delim:%0D+%zz");
    assert_int_equal(e.frame_at, 22);
    e = parse("tcp://h:1", C);
    assert_string_equal(e.frame, "none");
    assert_int_equal(e.frame_at, -1);
}

static void
a_port_can_be_put_in_place_of_zero(void **state)
{
    struct ol_endpoint e = parse("tcp://*:0#frame=line", L);
    char text[64];

    (void)state;
    (void)ol_endpoint_print(&e, 40123, text, sizeof text); /* the text is what matters */
    assert_string_equal(text, "tcp://*:40123#frame=line");
}

static void
printing_cuts_to_the_room_and_answers_the_whole_length(void **state)
{
    char text[8] = "#######";

    (void)state;
    assert_int_equal(outlet_url_print("h:1", C, text, 6), 9);
    assert_string_equal(text, "tcp:/");
    assert_int_equal(text[6], '#');
    assert_int_equal(outlet_url_print("h:1", C, NULL, 0), 9);
    assert_int_equal(outlet_url_print("h:1", C, NULL, 1), 9);
    assert_int_equal(outlet_url_print("tls://h:1", C, text, 6), OUTLET_ENOTSUP);
    assert_string_equal(text, "tcp:/");
}

static void
a_service_is_a_port_by_name(void **state)
{
    (void)state;
    if (ol_lookup_service("domain", "udp") < 0)
        skip(); /* a system without a list of services */
    assert_int_equal(parse("h:domain", C).port, 53);
    assert_int_equal(parse("udp://[::1]:domain", C).port, 53);
}

static void
a_missing_url_or_role_is_refused(void **state)
{
    struct outlet_reason why = OUTLET_REASON;

    (void)state;
    assert_int_equal(outlet_url_check(NULL, C, &why), OUTLET_EINVAL);
    assert_string_equal(why.text, "the URL is NULL");
    assert_int_equal(outlet_url_check("h:1", (enum outlet_role)0, &why), OUTLET_EINVAL);
    assert_int_equal(why.position, -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_has_one_canonical_text),
        cmocka_unit_test(the_canonical_text_parses_back_to_the_same_endpoint),
        cmocka_unit_test(every_error_names_its_byte_its_key_and_its_cause),
        cmocka_unit_test(every_sentence_fits_its_room),
        cmocka_unit_test(an_error_writes_no_endpoint_and_needs_no_reason),
        cmocka_unit_test(every_truncation_points_into_the_text),
        cmocka_unit_test(a_secret_is_never_shown),
        cmocka_unit_test(lengths_are_limited_at_the_very_byte),
        cmocka_unit_test(a_url_of_the_greatest_length_is_read_and_one_byte_more_is_not),
        cmocka_unit_test(a_host_may_have_255_bytes),
        cmocka_unit_test(numbers_are_limited_at_the_very_number),
        cmocka_unit_test(the_parts_of_a_place_are_told_apart),
        cmocka_unit_test(the_framing_is_kept_as_written_with_its_place),
        cmocka_unit_test(a_port_can_be_put_in_place_of_zero),
        cmocka_unit_test(printing_cuts_to_the_room_and_answers_the_whole_length),
        cmocka_unit_test(a_service_is_a_port_by_name),
        cmocka_unit_test(a_missing_url_or_role_is_refused),
    };
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
