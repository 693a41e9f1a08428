// A Llama of two blocks with seeded random weights and a byte-level tokenizer, as a Hugging Face
// folder: everything the commands need, in 1.5 MB, without any file from elsewhere.
#pragma once

#include <cstdint>
#include <filesystem>

namespace coldpress::test {

inline constexpr int kTinyHidden = 128;
inline constexpr int kTinyFfn = 256;
inline constexpr int kTinyBlocks = 2;
inline constexpr int kTinyLinears = 7 * kTinyBlocks;

void write_tiny_model(const std::filesystem::path& folder);
// Two layer problems, as `bench layers` reads them: NAME.W (48, 128) and NAME.H (128, 128).
void write_tiny_problems(const std::filesystem::path& file);
// About 6000 letters of English-looking words.
void write_tiny_text(const std::filesystem::path& file, uint64_t seed = 1);

}  // namespace coldpress::test
