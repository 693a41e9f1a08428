#include "output_options.h"

#include <charconv>
#include <cmath>
#include <string>

namespace coldpress::cli {
namespace {

// "2G", "2.5G", "500M", "64K" (powers of 1000, as llama.cpp's tools count) or plain bytes; 0: not a
// size.
uint64_t parse_size(const std::string& text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  double unit = 1;
  if (rest != end) {
    unit = *rest == 'G' ? 1e9 : *rest == 'M' ? 1e6 : *rest == 'K' ? 1e3 : 0;
    if (rest + 1 != end) return 0;
  }
  const double size = number * unit;  // exact up to 2^53
  if (error != std::errc() || !(size >= 1) || size > 1e15) return 0;
  return static_cast<uint64_t>(std::llround(size));
}

void add_size_option(CLI::App& verb, const std::string& name, const std::string& description,
                     uint64_t& bytes) {
  verb.add_option_function<std::string>(
          name,
          [name, &bytes](const std::string& text) {
            bytes = parse_size(text);
            if (bytes == 0) {
              throw CLI::ValidationError(name, "'" + text + "' is not a size such as 2G or 500M");
            }
          },
          description)
      ->type_name("SIZE");
}

}  // namespace

void add_split_option(CLI::App& verb, uint64_t& bytes) {
  add_size_option(verb, "--split-max-size",
                  "GGUF: tensors of at most SIZE per file (2G, 500M), as NAME-00001-of-0000N.gguf",
                  bytes);
}

void add_shard_option(CLI::App& verb, uint64_t& bytes) {
  add_size_option(verb, "--shard-size",
                  "Folders: files of at most SIZE (2G, 500M) instead of the source's shards",
                  bytes);
}

void add_max_ram_option(CLI::App& verb, uint64_t& bytes) {
  add_size_option(verb, "--max-ram",
                  "Use at most SIZE of memory (2.5G, 500M); what does not fit is kept on disk",
                  bytes);
}

}  // namespace coldpress::cli
