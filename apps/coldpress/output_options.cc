#include "output_options.h"

#include <charconv>
#include <string>

namespace coldpress::cli {
namespace {

// "2G", "500M", "64K" (powers of 1000, as llama.cpp's tools count) or plain bytes; 0: not a size.
uint64_t parse_size(const std::string& text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  uint64_t unit = 1;
  if (rest != end) {
    unit = *rest == 'G' ? 1'000'000'000 : *rest == 'M' ? 1'000'000 : *rest == 'K' ? 1'000 : 0;
    if (rest + 1 != end) return 0;
  }
  uint64_t size = 0;
  if (error != std::errc() || __builtin_mul_overflow(number, unit, &size)) return 0;
  return size;
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

}  // namespace coldpress::cli
