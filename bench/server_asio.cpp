/*
 * server_asio.cpp - the echo server on asio (the one without boost).
 *
 *     server_asio tcp PORT | unix PATH | frame PORT | udp PORT
 *
 * Sessions that keep themselves alive, as in its examples "echo" and "chat": read some, write all;
 * framed, the head, the body, and both back.  A session has a buffer of 64 KiB, where the examples
 * have 1 KiB: it measures better, and memory that is not touched is not there.
 *
 * SPDX-License-Identifier: MIT
 */
#include <array>
#include <asio.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace
{

using asio::ip::tcp;
using asio::ip::udp;
using asio::local::stream_protocol;

constexpr std::size_t room = 65536;
constexpr std::uint32_t message_max = 1 << 20;

void
ready(int port)
{
    std::printf("ready %d\n", port);
    std::fflush(stdout);
}

void
no_delay(tcp::socket &socket)
{
    socket.set_option(tcp::no_delay(true));
}

void
no_delay(stream_protocol::socket &)
{
}

template <class Protocol>
class echo_session : public std::enable_shared_from_this<echo_session<Protocol>>
{
  public:
    explicit echo_session(typename Protocol::socket socket) : socket_(std::move(socket))
    {
    }

    void
    start()
    {
        read();
    }

  private:
    void
    read()
    {
        auto self = this->shared_from_this();

        socket_.async_read_some(asio::buffer(data_.get(), room),
                                [this, self](std::error_code err, std::size_t n) {
                                    if (!err)
                                        write(n);
                                });
    }

    void
    write(std::size_t n)
    {
        auto self = this->shared_from_this();

        asio::async_write(socket_, asio::buffer(data_.get(), n),
                          [this, self](std::error_code err, std::size_t) {
                              if (!err)
                                  read();
                          });
    }

    typename Protocol::socket socket_;
    std::unique_ptr<char[]> data_{new char[room]};
};

class frame_session : public std::enable_shared_from_this<frame_session>
{
  public:
    explicit frame_session(tcp::socket socket) : socket_(std::move(socket))
    {
    }

    void
    start()
    {
        read_head();
    }

  private:
    void
    read_head()
    {
        auto self = shared_from_this();

        asio::async_read(socket_, asio::buffer(head_),
                         [this, self](std::error_code err, std::size_t) {
                             if (!err)
                                 read_body();
                         });
    }

    void
    read_body()
    {
        auto self = shared_from_this();
        std::uint32_t n = std::uint32_t{head_[0]} << 24 | std::uint32_t{head_[1]} << 16 |
                          std::uint32_t{head_[2]} << 8 | head_[3];

        if (n > message_max)
            return;
        body_.resize(n);
        asio::async_read(socket_, asio::buffer(body_),
                         [this, self](std::error_code err, std::size_t) {
                             if (!err)
                                 write();
                         });
    }

    void
    write()
    {
        auto self = shared_from_this();
        std::array<asio::const_buffer, 2> pieces{asio::buffer(head_), asio::buffer(body_)};

        asio::async_write(socket_, pieces, [this, self](std::error_code err, std::size_t) {
            if (!err)
                read_head();
        });
    }

    tcp::socket socket_;
    std::array<std::uint8_t, 4> head_{};
    std::vector<char> body_;
};

template <class Protocol, class Session>
void
accept(typename Protocol::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](std::error_code err, typename Protocol::socket socket) {
        if (!err) {
            no_delay(socket);
            std::make_shared<Session>(std::move(socket))->start();
        }
        accept<Protocol, Session>(acceptor);
    });
}

class datagrams
{
  public:
    datagrams(asio::io_context &io, std::uint16_t port)
        : socket_(io, udp::endpoint(asio::ip::address_v4::loopback(), port))
    {
        ready(socket_.local_endpoint().port());
        receive();
    }

  private:
    void
    receive()
    {
        socket_.async_receive_from(asio::buffer(data_), from_,
                                   [this](std::error_code err, std::size_t n) {
                                       if (err)
                                           receive();
                                       else
                                           send(n);
                                   });
    }

    void
    send(std::size_t n)
    {
        socket_.async_send_to(asio::buffer(data_, n), from_,
                              [this](std::error_code, std::size_t) { receive(); });
    }

    udp::socket socket_;
    udp::endpoint from_;
    std::array<char, room> data_{};
};

} // namespace

int
main(int argc, char **argv)
{
    asio::io_context io(1); /* a hint: one thread runs it */

    if (argc < 3)
        return 2;
    std::string kind = argv[1];
    if (kind == "udp") {
        datagrams server(io, static_cast<std::uint16_t>(std::atoi(argv[2])));

        io.run();
    } else if (kind == "unix") {
        stream_protocol::acceptor acceptor(io, stream_protocol::endpoint(argv[2]));

        ready(0);
        accept<stream_protocol, echo_session<stream_protocol>>(acceptor);
        io.run();
    } else {
        tcp::endpoint at(asio::ip::address_v4::loopback(),
                         static_cast<std::uint16_t>(std::atoi(argv[2])));
        tcp::acceptor acceptor(io, at);

        ready(acceptor.local_endpoint().port());
        if (kind == "frame")
            accept<tcp, frame_session>(acceptor);
        else
            accept<tcp, echo_session<tcp>>(acceptor);
        io.run();
    }
    return 0;
}
